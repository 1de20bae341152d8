"""The bare pipeline, for tests of grammars."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import openvino_genai as genai

from host.vocabulary import load_tokenizer

PROMPT = "<|im_start|>user\nGive me an example as JSON.<|im_end|>\n<|im_start|>assistant\n"


class Text(msgspec.Struct):
    text: str
    ended: bool  # by itself, and not by its length


class Engine:
    """The bare pipeline."""

    def __init__(self, path: Path) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = 1_600
        scheduler.max_num_batched_tokens = 256
        self._tokenizer = load_tokenizer(path).native
        self._eos = self._tokenizer.get_eos_token_id()
        self._pipeline = genai.ContinuousBatchingPipeline(str(path), self._tokenizer, scheduler, "CPU")
        self._prompt = self._tokenizer.encode(PROMPT, add_special_tokens=False).input_ids
        self._requests = 0

    def run(
        self, formats: Sequence[dict[str, Any]], max_tokens: int, temperatures: Sequence[float] = ()
    ) -> list[Text]:
        """A text for each format, at its temperature; by default at 1."""
        asked = zip(formats, temperatures or [1.0] * len(formats), strict=True)
        handles = [self._add(format_, max_tokens, temperature) for format_, temperature in asked]
        tokens: list[list[int]] = [[] for _ in handles]
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()
            for handle, found in zip(handles, tokens, strict=True):
                while handle.can_read():
                    for output in handle.read().values():
                        found += output.generated_ids
        texts = self._tokenizer.decode(tokens)
        return [Text(text, self._eos in ids) for text, ids in zip(texts, tokens, strict=True)]

    def _add(self, format_: dict[str, Any], max_tokens: int, temperature: float) -> Any:
        config = genai.GenerationConfig()
        config.max_new_tokens = max_tokens
        config.do_sample = temperature > 0
        config.temperature = temperature or 1.0
        config.eos_token_id = self._eos
        config.include_stop_str_in_output = True
        structured = genai.StructuredOutputConfig()
        structured.structural_tags_config = json.dumps({"type": "structural_tag", "format": format_})
        config.structured_output_config = structured
        self._requests += 1
        config.rng_seed = self._requests
        return self._pipeline.add_request(self._requests, self._prompt, config)
