"""From a launch to a text engine: tokenizer, pipeline, limits, and a first run."""

import time
from pathlib import Path
from typing import Any

import msgspec
import openvino_genai as genai
from openvino import Core

from host.detokenizer import Detokenizer, choose_detokenizer
from host.devices import check_device
from host.engines.pipeline import Pipeline, device_name
from host.engines.prompt_ids import PromptReader
from host.engines.text import TextEngine
from host.errors import LaunchError
from host.facts import inference_threads, weights_format
from host.linux import memory_bytes
from host.model_folder import (
    VARIED_TEXT,
    ModelFolder,
    check_vocabulary,
    fingerprint,
    language_xml,
    overridden,
    read_model_folder,
)
from host.results import Results
from host.sampling import Limits
from host.templates.turns import NO_TURNS, find_turn_markers
from host.vocabulary import Vocabulary, load_tokenizer
from ipc.ir import check_model
from ipc.messages import (
    DraftModel,
    Generate,
    Launch,
    Prompt,
    Sampling,
    TextCard,
    TextInput,
    TextOptions,
    TokenPrompt,
)

_WARM_UP_TOKENS = 64
_GIB = 1024**3
_FALLBACK_CONTEXT = 2048  # tokens, where neither the launch nor the model says


def load_text_engine(launch: Launch[TextOptions], _results: Results) -> TextEngine:
    """Load tokenizer and pipeline from an IR folder. Raises FileFault, LaunchError, RuntimeError."""
    started = time.monotonic()
    engine = build_engine(launch, TextParts())
    if launch.engine == "text":  # one request at a time means a device that compiles as it loads
        prompt = TokenPrompt(list(range(min(_WARM_UP_TOKENS, engine.card.context_length // 2))))
        warm_up(engine, prompt)
    engine.card.load_seconds = time.monotonic() - started
    return engine


class TextParts:
    """What a text engine is made of; another kind of engine may have other parts."""

    takes_images = False
    engine_type: type[TextEngine] = TextEngine

    def reader(self, tokenizer: Any, folder: ModelFolder, detokenizer: Detokenizer[Any]) -> PromptReader:
        return PromptReader(tokenizer, folder, detokenizer.longest_token)

    def pipeline(
        self,
        launch: Launch[TextOptions],
        folder: ModelFolder,
        tokenizer: Any,
        reader: PromptReader,  # noqa: ARG002 - for pipelines that take text
    ) -> Pipeline:
        return Pipeline(launch, folder, tokenizer)


def build_engine(launch: Launch[TextOptions], parts: TextParts) -> TextEngine:
    """An engine that was not warmed up yet. Raises FileFault, LaunchError, RuntimeError."""
    _check_draft(launch)
    _check_kv_cache(launch)
    folder = overridden(read_model_folder(Path(launch.path)), launch)
    tokenizer, pieces = load_tokenizer(folder.path)
    check_vocabulary(folder.path, tokenizer.encode(VARIED_TEXT).input_ids.data.flat, folder.vocab_size)
    detokenizer = choose_detokenizer(tokenizer, pieces)
    prompts = parts.reader(tokenizer, folder, detokenizer)
    pipeline = parts.pipeline(launch, folder, tokenizer, prompts)
    limits = Limits(
        context_length=prompts.measure_context(
            launch.options.context_length or folder.context_length or _FALLBACK_CONTEXT
        ),
        vocab_size=folder.vocab_size or len(tokenizer.get_vocab()),
        kv_cache_tokens=pipeline.kv_cache_tokens,
        vocabulary=Vocabulary(tokenizer.get_vocab()),
    )
    template = prompts.template
    turns = NO_TURNS if template is None else find_turn_markers(template, detokenizer.special)
    card = TextCard(
        context_length=limits.context_length,
        vocab_size=limits.vocab_size,
        kv_cache_tokens=limits.kv_cache_tokens,
        slots=launch.options.max_num_seqs,
        chat_template=template.source if template is not None else "",
        tool_template=prompts.tool_template.source if prompts.tool_template is not None else "",
        device_name=device_name(launch.device),
        load_seconds=0.0,
        fingerprint=fingerprint(folder.path, genai.get_version()),
        properties=pipeline.chosen,
        takes_images=parts.takes_images,
        special_tokens={name: text for name, text in prompts.special_tokens.items() if text},
        threads=inference_threads(launch),
        weights=weights_format(language_xml(folder.path)),
    )
    return parts.engine_type(pipeline, prompts, detokenizer, folder.defaults, limits, turns, card)


def _check_draft(launch: Launch[TextOptions]) -> None:
    """Raise FileFault or LaunchError, naming the file or device, for a draft model that cannot be used."""
    draft = launch.options.speculation
    if isinstance(draft, DraftModel):
        check_model(Path(draft.path), "text")
        check_device(draft.device, Core().available_devices, "--draft-device")


def _check_kv_cache(launch: Launch[TextOptions]) -> None:
    """Raise LaunchError if the KV cache alone exceeds the machine's memory, whatever is in use now."""
    wanted, memory = launch.options.kv_cache_bytes, memory_bytes()
    if launch.engine != "stateful" and launch.device.startswith("CPU") and wanted > memory:
        raise LaunchError(
            f"a KV cache of {wanted / _GIB:.3g} GiB exceeds the memory of this machine, "
            f"{memory / _GIB:.3g} GiB; lower --kv-cache-gib"
        )


def warm_up(engine: TextEngine, prompt: Prompt) -> None:
    """Let the engine compile its kernels now: the first request would wait for that, some 0.3 s on a CPU.

    Raises RequestRefused or EngineLost where the model cannot even do this.
    """
    sampling = Sampling(max_tokens=2, temperature=0.0, ignore_eos=True)
    engine.submit(Generate(0, b"", sampling), msgspec.msgpack.encode(TextInput(prompt)))
    engine.is_warming_up = True
    while engine.busy:
        engine.step()
    engine.is_warming_up = False
