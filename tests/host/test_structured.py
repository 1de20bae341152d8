"""What models of random weights write under the grammars that the frontend makes: every text validates."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from frontend.structured import ConstraintError, choice, ebnf, json_object, json_schema, regex
from tests.frontend.structured.schemas import SCHEMAS
from tests.frontend.structured.strategies import SCHEMA
from tests.host.bare_engine import Engine
from tests.models.sentencepiece import tiny_sentencepiece


@pytest.fixture(scope="module")
def engine(qwen3_ir: Path) -> Iterator[Engine]:
    yield Engine(qwen3_ir)


@pytest.fixture(scope="module")
def small_engine() -> Iterator[Engine]:
    """One whose vocabulary is a fifth as large, of SentencePiece."""
    yield Engine(tiny_sentencepiece())


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
def test_no_schema_that_is_taken_fails_in_the_engine(small_engine: Engine, schemas: list[Any]) -> None:
    taken = []
    for schema in schemas:
        try:
            taken.append((schema, json_schema(schema)))
        except ConstraintError:
            continue
    assert taken
    for text, (schema, _) in zip(small_engine.run([format_ for _, format_ in taken], 24), taken, strict=True):
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
