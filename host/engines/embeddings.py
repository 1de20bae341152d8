"""Embeddings: each input becomes a vector."""

import time
from functools import partial
from pathlib import Path

import numpy as np

from host.engines.base import Body, not_served
from host.model_folder import ModelFolderError
from host.results import Results
from host.vectors.batch import Batch
from host.vectors.engine import VectorEngine
from host.vectors.folder import SentenceSettings, VectorFolder, read_sentence_settings, read_vector_folder
from host.vectors.limits import bounded_text, check_result_size, decoded, refused, tokens_to_keep, too_long
from host.vectors.loading import Facts, start_engine
from host.vectors.model import Library, Output
from host.vectors.native import NativeModel, outputs_of, read_model
from host.vectors.pooling import normalized, pool
from host.vectors.request import FloatArray, IntArray, TokenRow, VectorRequest
from host.vectors.tokenizer import GenAiTokenizer
from ipc.messages import Embed, Embedded, EmbedInputs, Launch, Payload, VectorOptions, Work
from ipc.messages.vectors import decode_embed_inputs

_POOLED = "sentence_embedding"  # sentence-transformers' name of an output that is an embedding already


def load_embeddings(launch: Launch[VectorOptions], results: Results) -> VectorEngine:
    """Load an encoder from an IR folder, or with Optimum from any folder that it converts.

    Raises ModelFolderError, and whatever the library raises.
    """
    started = time.monotonic()
    folder = read_vector_folder(Path(launch.path), launch.options)
    settings = read_sentence_settings(folder, launch.options)
    engine = start_engine(
        launch,
        results,
        folder,
        _library(launch, folder, settings),
        partial(_embeddings, settings),
        lambda facts: partial(_read, facts, settings.normalize),
    )
    engine.card.prompts = settings.prompts
    engine.card.default_prompt = settings.default_prompt
    engine.card.load_seconds = time.monotonic() - started
    return engine


def _library(launch: Launch[VectorOptions], folder: VectorFolder, settings: SentenceSettings) -> Library:
    if launch.options.library == "optimum":
        from host.vectors.optimum import load_feature_extraction

        return load_feature_extraction(folder, launch)
    model = read_model(folder)
    output = choose_output(outputs_of(model), settings.complete, launch.options.pooling is not None)
    tokenizer = GenAiTokenizer(folder.path, folder.doubled_separator)
    return Library(tokenizer, NativeModel(model, output, folder.segments, launch))


def choose_output(ranks: dict[str, int], complete: bool, pools: bool) -> str:
    """The output to make embeddings of. `ranks`: the number of each one's dimensions, by name.

    An embedding that the graph computes itself is taken unless the launch asks for a pooling (`pools`).
    Where the graph pools and more (not `complete`), nothing else will do. Raises ModelFolderError.
    """
    if _POOLED in ranks and not pools:
        return _POOLED
    if not complete:
        raise ModelFolderError(
            "modules.json lists modules besides Transformer, Pooling and Normalize; export the model with "
            "`--library sentence_transformers`, so that its graph holds them"
        )
    for name, rank in ranks.items():
        if rank == 3 or (rank == 2 and not pools):
            return name
    raise ModelFolderError(f"the model has no output of hidden states, only {', '.join(ranks)}")


def _embeddings(settings: SentenceSettings, output: Output, batch: Batch) -> FloatArray:
    if output.ndim == 3:
        vectors = pool(output, batch, settings.pooling)
    else:
        vectors = output[: batch.inputs].astype(np.float32)
    return normalized(vectors) if settings.normalize else vectors


class EmbedRequest(VectorRequest):
    """Texts, each with the prompt before it; or token ids, with the prompt's token ids before them."""

    def __init__(self, work: Embed, inputs: EmbedInputs, facts: Facts, normalize: bool) -> None:
        """Raises RequestRefused."""
        framing = facts.tokenizer.framing
        self._work, self._facts, self._normalize = work, facts, normalize
        self._keep = tokens_to_keep(work.truncate, facts.window, framing.single_tokens)
        self._token_ids = [np.array(ids, np.int64) for ids in inputs.token_ids]
        cut = self._keep is not None
        texts = [
            bounded_text(work.prompt + text, facts.window, cut, f"input[{index}]")
            for index, text in enumerate(inputs.texts)
        ]
        super().__init__(work.request_id, [work.prompt] if inputs.token_ids and work.prompt else texts)

    def token_rows(self) -> list[TokenRow]:
        return [self._token_row(index, ids) for index, ids in enumerate(self._inputs())]

    def result(self, rows: FloatArray) -> FloatArray:
        dimensions = self._work.dimensions
        if dimensions is None or dimensions == rows.shape[1]:
            return rows
        return normalized(rows[:, :dimensions]) if self._normalize else rows[:, :dimensions]

    def reply(self, payload: Payload, shape: tuple[int, ...]) -> Embedded:
        return Embedded(self.request_id, payload, shape, self.prompt_tokens)

    def _inputs(self) -> list[IntArray]:
        if not self._token_ids:
            return self.pieces
        return [np.concatenate((*self.pieces, ids)) for ids in self._token_ids]

    def _token_row(self, index: int, ids: IntArray) -> TokenRow:
        framing = self._facts.tokenizer.framing
        tokens = len(ids) + framing.single_tokens
        if self._keep is not None:
            ids = ids[: self._keep - framing.single_tokens]
        elif tokens > self._facts.window:
            raise too_long(self._facts.window, tokens, f"input[{index}]", f"input[{index}]")
        if not tokens:
            raise refused(f"input[{index}] has no tokens", f"input[{index}]")
        return framing.single(ids)


def _read(facts: Facts, normalize: bool, work: Work, body: Body) -> EmbedRequest:
    if not isinstance(work, Embed):
        raise not_served(work)
    inputs = decoded(decode_embed_inputs, body, "input")
    width = work.dimensions or facts.width
    if work.dimensions is not None and not 1 <= work.dimensions <= facts.width:
        raise refused(f"dimensions must be between 1 and the model's {facts.width}", "dimensions")
    check_result_size(len(inputs.texts) + len(inputs.token_ids), width, facts.limit_bytes, "input")
    _check(inputs, facts.vocab_size)
    return EmbedRequest(work, inputs, facts, normalize)


def _check(inputs: EmbedInputs, vocab_size: int) -> None:
    """The native calls crash on empty inputs, and take any number for a token."""
    if not inputs.texts and not inputs.token_ids:
        raise refused("input must not be empty", "input")
    for index, given in enumerate(inputs.texts or inputs.token_ids):
        if not given:
            raise refused(f"input[{index}] must not be empty", f"input[{index}]")
    for index, ids in enumerate(inputs.token_ids):
        if min(ids) < 0 or max(ids) >= vocab_size:
            wrong = next(token_id for token_id in ids if not 0 <= token_id < vocab_size)
            raise refused(
                f"input[{index}]: token id {wrong} is outside the vocabulary of {vocab_size}",
                f"input[{index}]",
            )
