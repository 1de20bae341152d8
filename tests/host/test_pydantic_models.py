"""Calls and answers validate against the schemas of pydantic models, in every dialect and by any weights."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from frontend.parsing import TOOL_FORMAT_NAMES, detect
from frontend.structured import json_schema
from tests.frontend.parsing.parsed import Function, calls_of, formats, read
from tests.frontend.structured.pydantic_models import MODELS, schema_of
from tests.host.bare_engine import Engine
from tests.models.llama3 import tiny_llama3
from tests.models.random_text import TEMPERATURE, random_text_model
from tests.models.sentencepiece import tiny_sentencepiece

_VALIDATOR = jsonschema.Draft202012Validator
_MODELS: dict[str, Callable[[], Path]] = {
    "sentencepiece": tiny_sentencepiece,
    "llama3": tiny_llama3,
    "a small sentencepiece": lambda: random_text_model("sentencepiece"),
    "a small byte-level": lambda: random_text_model("byte-level"),
}
_DIALECTS = {name: formats(name) for name in TOOL_FORMAT_NAMES if name != "none"}
_DIALECTS["mistral, listed"] = detect("[TOOL_CALLS] [")
_TOKENS = 1500
_SEEDS = 20


class _Engines(dict[str, Engine]):
    """Each is loaded when it is first used."""

    def __missing__(self, name: str) -> Engine:
        self[name] = Engine(_MODELS[name]())
        return self[name]


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    return _Engines()


def assert_kept_to(engine: Engine, dialect: str, names: Sequence[str]) -> None:
    form = _DIALECTS[dialect].tool_format
    assert form is not None
    grammars = {
        name: form.grammar({"f": form.arguments_format(schema_of(name))}, at_least_one=True, parallel=False)
        for name in names
    }
    for name, text in texts_of(engine, [(name, grammars[name]) for name in names]):
        tool = Function("f", schema_of(name))
        ((called, arguments),) = calls_of(read([text], _DIALECTS[dialect], tools=[tool], eager=True))
        assert called == "f"
        assert_model(name, arguments)


def texts_of(engine: Engine, asked: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[tuple[str, str]]:
    """A text for each name and format, each with a seed of its own."""
    texts = engine.run([format_ for _, format_ in asked], _TOKENS, [TEMPERATURE] * len(asked))
    for (name, _), text in zip(asked, texts, strict=True):
        assert text.ended, (name, text.text)
        yield name, text.text


def assert_model(name: str, value: Any) -> None:
    _VALIDATOR(schema_of(name), format_checker=_VALIDATOR.FORMAT_CHECKER).validate(value)
    MODELS[name].model_validate(value)


@pytest.mark.parametrize("dialect", ["qwen3_coder", "hermes"])
def test_calls_validate(engines: dict[str, Engine], dialect: str) -> None:
    assert_kept_to(engines["sentencepiece"], dialect, ["Bounded"] * 4)


SMALL = pytest.mark.parametrize("model", ["a small sentencepiece", "a small byte-level"])


@pytest.mark.many_seeds
@SMALL
@pytest.mark.parametrize("dialect", _DIALECTS)
def test_calls_validate_with_every_seed(engines: dict[str, Engine], dialect: str, model: str) -> None:
    assert_kept_to(engines[model], dialect, [*MODELS] * _SEEDS)


@pytest.mark.many_seeds
@SMALL
def test_answers_validate_with_every_seed(engines: dict[str, Engine], model: str) -> None:
    asked = [(name, json_schema(schema_of(name))) for name in MODELS]
    for name, text in texts_of(engines[model], asked * _SEEDS):
        assert_model(name, json.loads(text))


# Harmony allows a thought before the call, which random weights never end.
@pytest.mark.many_seeds
@pytest.mark.parametrize("model", ["sentencepiece", "llama3"])
@pytest.mark.parametrize("dialect", [name for name in _DIALECTS if name != "harmony"])
def test_calls_validate_with_whole_vocabularies(engines: dict[str, Engine], dialect: str, model: str) -> None:
    assert_kept_to(engines[model], dialect, ["Bounded", "Bounded", "Enums", "Times"])
