"""Rerank: how well each document answers its query, by a cross-encoder or by a language model's yes or no."""

import time
from functools import partial
from pathlib import Path

from host.engines.base import Body, context_length_exceeded, not_served
from host.model_folder import ModelFolderError
from host.results import Results
from host.vectors.batch import Batch
from host.vectors.engine import VectorEngine
from host.vectors.folder import VectorFolder, read_vector_folder
from host.vectors.last_token import keep_last_token
from host.vectors.limits import bounded_text, check_result_size, decoded, refused, tokens_to_keep, too_long
from host.vectors.loading import Facts, start_engine
from host.vectors.model import Library, Output
from host.vectors.native import NativeModel, outputs_of, read_model
from host.vectors.pairs import CrossEncoderPairs, PairFormat, Qwen3Pairs
from host.vectors.pooling import scores
from host.vectors.request import FloatArray, IntArray, TokenRow, VectorRequest
from host.vectors.tokenizer import GenAiTokenizer, Tokenizer
from ipc.messages import Launch, Payload, Rerank, Reranked, RerankInputs, VectorOptions, Work
from ipc.messages.vectors import decode_rerank_inputs

_LOGITS = "logits"
_ANSWERS = ("no", "yes")  # of a language model; the score is the second one's probability of the two
_INSTRUCTED = "qwen3"  # the family of models, by the type in their config, that judge by an instruction


def load_rerank(launch: Launch[VectorOptions], results: Results) -> VectorEngine:
    """Load a reranker from an IR folder, or a cross-encoder with Optimum from any folder that it converts.

    Raises ModelFolderError, and whatever the library raises.
    """
    started = time.monotonic()
    folder = read_vector_folder(Path(launch.path), launch.options)
    library = _library(launch, folder)
    pairs = _pair_format(folder, library.tokenizer)
    engine = start_engine(
        launch, results, folder, library, _scores, lambda facts: partial(_read, facts, pairs)
    )
    engine.card.dimensions = 0
    engine.card.load_seconds = time.monotonic() - started
    return engine


def _library(launch: Launch[VectorOptions], folder: VectorFolder) -> Library:
    if launch.options.library == "optimum":
        from host.vectors.optimum import load_sequence_classification

        return load_sequence_classification(folder, launch)
    model = read_model(folder)
    rank = outputs_of(model).get(_LOGITS)
    if rank is None:
        raise ModelFolderError(f"{folder.path} holds no reranker: its model has no output named {_LOGITS}")
    tokenizer = GenAiTokenizer(folder.path, folder.doubled_separator)
    if rank == 3:  # of every token: a language model
        if not folder.model_type.startswith(_INSTRUCTED):
            raise ModelFolderError(
                f"a language model of type {folder.model_type or 'unknown'} cannot rerank; only Qwen3's can"
            )
        model = keep_last_token(model, _answer_ids(tokenizer))
    return Library(tokenizer, NativeModel(model, _LOGITS, folder.segments, launch))


def _answer_ids(tokenizer: Tokenizer) -> list[int]:
    ids = [answer.tolist() for answer in tokenizer.encode(_ANSWERS)]
    if any(len(answer) != 1 for answer in ids):
        raise ModelFolderError("the tokenizer has no single tokens for yes and no")
    return [token_id for (token_id,) in ids]


def _pair_format(folder: VectorFolder, tokenizer: Tokenizer) -> PairFormat:
    if folder.model_type.startswith(_INSTRUCTED):
        return Qwen3Pairs(tokenizer)
    return CrossEncoderPairs(tokenizer.framing)


def _scores(output: Output, batch: Batch) -> FloatArray:
    return scores(output[: batch.inputs])


class RerankRequest(VectorRequest):
    """Documents, and one query for all of them or one for each.

    A pair that is too long loses tokens at the end of its document; a query is never cut.
    """

    def __init__(self, work: Rerank, inputs: RerankInputs, facts: Facts, pairs: PairFormat) -> None:
        """Raises RequestRefused."""
        self._work, self._window, self._pairs = work, facts.window, pairs
        self._keep = tokens_to_keep(work.truncate, facts.window, pairs.extra_tokens)
        self._queries = len(inputs.queries)
        cut = self._keep is not None or work.max_document_tokens is not None
        queries = [
            pairs.query_text(bounded_text(query, facts.window, False, self._query(index)), work.instruction)
            for index, query in enumerate(inputs.queries)
        ]
        documents = [
            pairs.document_text(bounded_text(document, facts.window, cut, f"documents[{index}]"))
            for index, document in enumerate(inputs.documents)
        ]
        super().__init__(work.request_id, queries + documents)

    def token_rows(self) -> list[TokenRow]:
        queries, documents = self.pieces[: self._queries], self.pieces[self._queries :]
        return [
            self._token_row(queries, index if self._queries > 1 else 0, document, f"documents[{index}]")
            for index, document in enumerate(documents)
        ]

    def result(self, rows: FloatArray) -> FloatArray:
        return rows[:, 0]

    def reply(self, payload: Payload, shape: tuple[int, ...]) -> Reranked:
        return Reranked(self.request_id, payload, shape, self.prompt_tokens)

    def _token_row(self, queries: list[IntArray], index: int, document: IntArray, param: str) -> TokenRow:
        query = queries[index]
        document = document[: self._work.max_document_tokens]
        taken = len(query) + self._pairs.extra_tokens
        limit = self._keep or self._window
        if taken >= limit:
            name = self._query(index)
            asked = f"{name} takes {taken} tokens with those around it and leaves none for a document"
            raise context_length_exceeded(limit, asked, name)
        if self._keep is None and taken + len(document) > limit:
            raise too_long(limit, taken + len(document), f"{param} with its query", param)
        return self._pairs.pair(query, document[: limit - taken])

    def _query(self, index: int) -> str:
        """What a client calls it."""
        return f"queries[{index}]" if self._queries > 1 else "query"


def _read(facts: Facts, pairs: PairFormat, work: Work, body: Body) -> RerankRequest:
    if not isinstance(work, Rerank):
        raise not_served(work)
    inputs = decoded(decode_rerank_inputs, body, "documents")
    if not inputs.documents:
        raise refused("documents must not be empty", "documents")
    if len(inputs.queries) not in (1, len(inputs.documents)):
        raise refused("there must be one query, or one for each document", "queries")
    check_result_size(len(inputs.documents), facts.width, facts.limit_bytes, "documents")
    return RerankRequest(work, inputs, facts, pairs)
