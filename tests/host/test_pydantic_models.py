"""Calls and answers validate against the schemas of pydantic models, in every dialect and by any weights."""

import json
from collections.abc import Callable, Sequence
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
from tests.models.sentencepiece import tiny_sentencepiece

_VALIDATOR = jsonschema.Draft202012Validator
_MODELS: dict[str, Callable[[], Path]] = {"sentencepiece": tiny_sentencepiece, "llama3": tiny_llama3}
_DIALECTS = {name: formats(name) for name in TOOL_FORMAT_NAMES if name != "none"}
_DIALECTS["mistral, listed"] = detect("[TOOL_CALLS] [")
_UNBOUNDED = {"Optionals", "Unions", "Strings", "Nested"}  # a text may go on up to the limit
_TOKENS = 600
_TEMPERATURE = 1.5
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
    calls = [
        form.grammar({"f": form.arguments_format(schema_of(name))}, at_least_one=True, parallel=False)
        for name in names
    ]
    texts = engine.run(calls, _TOKENS, [_TEMPERATURE] * len(calls))
    for name, text in zip(names, texts, strict=True):
        if not text.ended:
            assert name in _UNBOUNDED, text.text
            continue
        tool = Function("f", schema_of(name))
        ((called, arguments),) = calls_of(read([text.text], _DIALECTS[dialect], tools=[tool], eager=True))
        assert called == "f"
        assert_model(name, arguments)


def assert_model(name: str, value: Any) -> None:
    _VALIDATOR(schema_of(name), format_checker=_VALIDATOR.FORMAT_CHECKER).validate(value)
    MODELS[name].model_validate(value)


@pytest.mark.parametrize("dialect", ["qwen3_coder", "hermes"])
def test_calls_validate(engines: dict[str, Engine], dialect: str) -> None:
    assert_kept_to(engines["sentencepiece"], dialect, ["Bounded"] * 4)


@pytest.mark.many_seeds
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("model", ["sentencepiece", "llama3"])
@pytest.mark.parametrize("dialect", _DIALECTS)
def test_calls_validate_with_every_seed(engines: dict[str, Engine], dialect: str, model: str) -> None:
    for _ in range(_SEEDS):
        assert_kept_to(engines[model], dialect, list(MODELS))


@pytest.mark.many_seeds
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("model", ["sentencepiece", "llama3"])
def test_answers_validate_with_every_seed(engines: dict[str, Engine], model: str) -> None:
    formats_ = [json_schema(schema_of(name)) for name in MODELS]
    for _ in range(_SEEDS):
        texts = engines[model].run(formats_, _TOKENS, [_TEMPERATURE] * len(formats_))
        for name, text in zip(MODELS, texts, strict=True):
            if text.ended:
                assert_model(name, json.loads(text.text))
            else:
                assert name in _UNBOUNDED, text.text
