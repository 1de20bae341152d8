"""What a real model writes under the grammars that the frontend makes: every text validates."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import openvino_genai as genai
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from frontend.structured import ConstraintError, choice, ebnf, json_object, json_schema, regex
from tests.frontend.structured.schemas import SCHEMAS
from tests.frontend.structured.strategies import SCHEMA

PROMPT = "<|im_start|>user\nGive me an example as JSON.<|im_end|>\n<|im_start|>assistant\n"
EOS = 2


class Text(msgspec.Struct):
    text: str
    ended: bool  # by itself, and not by its length


class Engine:
    """The bare pipeline."""

    def __init__(self, path: Path) -> None:
        scheduler = genai.SchedulerConfig()
        scheduler.num_kv_blocks = 1_600
        scheduler.max_num_batched_tokens = 256
        self._tokenizer = genai.Tokenizer(str(path))
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
        return [Text(text, EOS in ids) for text, ids in zip(texts, tokens, strict=True)]

    def _add(self, format_: dict[str, Any], max_tokens: int, temperature: float) -> Any:
        config = genai.GenerationConfig()
        config.max_new_tokens = max_tokens
        config.do_sample = temperature > 0
        config.temperature = temperature or 1.0
        config.eos_token_id = EOS
        config.include_stop_str_in_output = True
        structured = genai.StructuredOutputConfig()
        structured.structural_tags_config = json.dumps({"type": "structural_tag", "format": format_})
        config.structured_output_config = structured
        self._requests += 1
        config.rng_seed = self._requests
        return self._pipeline.add_request(self._requests, self._prompt, config)


@pytest.fixture(scope="module")
def engine(smollm2_ir: Path) -> Iterator[Engine]:
    yield Engine(smollm2_ir)


def assert_valid(text: str, schema: Any) -> None:
    validator = jsonschema.Draft202012Validator
    validator(schema, format_checker=validator.FORMAT_CHECKER).validate(json.loads(text))


def test_schemas_of_all_kinds_are_kept_to(engine: Engine) -> None:
    """Greedily and by chance, in one batch: together they take little longer than alone."""
    formats = [json_schema(schema) for schema in SCHEMAS.values()]
    texts = engine.run([*formats, *formats], 400, [0.0] * len(formats) + [1.0] * len(formats))
    for name, text in zip([*SCHEMAS, *SCHEMAS], texts, strict=True):
        if text.ended:
            assert_valid(text.text, SCHEMAS[name])
        else:  # a model may write a recursive value without an end, but nothing else
            assert name in {"linked list", "tree"}


@settings(
    max_examples=6,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(st.lists(SCHEMA, min_size=32, max_size=32))
def test_no_schema_that_is_taken_fails_in_the_engine(engine: Engine, schemas: list[Any]) -> None:
    taken = []
    for schema in schemas:
        try:
            taken.append((schema, json_schema(schema)))
        except ConstraintError:
            continue
    assert taken
    for text, (schema, _) in zip(engine.run([format_ for _, format_ in taken], 24), taken, strict=True):
        if text.ended:
            assert_valid(text.text, schema)


def test_other_formats_are_kept_to(engine: Engine) -> None:
    sums = 'root ::= term ("+" term){1,2}\nterm ::= [0-9]{1,2} | "(" [0-9] ")"'
    formats = [
        choice(["é", 'a "b"']),
        regex("[A-Z]{3}-\\d{2}|none"),
        ebnf(sums),
        json_object(),
    ]
    chosen, matched, written, anything = engine.run(formats, 100)
    assert chosen.text in ("é", 'a "b"')
    regexes = jsonschema.Draft202012Validator({"pattern": "^([A-Z]{3}-[0-9]{2}|none)$"})
    regexes.validate(matched.text)
    assert re.fullmatch("(\\d{1,2}|\\(\\d\\))([+](\\d{1,2}|\\(\\d\\))){1,2}", written.text)
    assert anything.text.startswith("{")
    assert not anything.ended or isinstance(json.loads(anything.text), dict)
