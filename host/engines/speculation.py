"""Speculative decoding: what the pipeline is built with, and what each of its requests must say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino_genai as genai

from host.model_folder import read_model_folder
from ipc.kv_cache import block_bytes
from ipc.messages import DraftModel, PromptLookup, Speculation


class Assist:
    """How a pipeline's requests get tokens guessed. The text stays what the model alone would write; chance
    with a draft model takes other draws."""

    def __init__(self, speculation: Speculation | None) -> None:
        self._speculation = speculation

    def apply(self, config: Any) -> None:
        """Complete a GenerationConfig: a pipeline built to speculate fails on one that says nothing of it."""
        speculation = self._speculation
        if speculation is None:
            return
        config.num_assistant_tokens = speculation.num_assistant_tokens
        if isinstance(speculation, PromptLookup):
            config.max_ngram_size = speculation.max_ngram_size
        if config.min_new_tokens:  # the engine counts guesses that it then rejects
            config.min_new_tokens = min(
                config.min_new_tokens + speculation.num_assistant_tokens, config.max_new_tokens
            )

    def options(self, device: str, properties: Mapping[str, str]) -> dict[str, Any]:
        """Keyword arguments of the pipeline. `device` and `properties` are the model's own."""
        match self._speculation:
            case DraftModel() as draft:
                own = properties if draft.device == device else {}
                return {"draft_model": genai.draft_model(draft.path, draft.device, **own)}
            case PromptLookup():
                return {"prompt_lookup": True}
        return {}

    def block_bytes(self, properties: Mapping[str, str]) -> int:
        """What one more block of the model's KV cache takes in that of the draft model, which has as many."""
        if not isinstance(self._speculation, DraftModel):
            return 0
        draft = self._speculation
        return block_bytes(read_model_folder(Path(draft.path)).kv_shape, draft.device, properties)
