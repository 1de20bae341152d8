"""Arguments without quotes: whatever the grammar allows is read back as values that validate."""

from random import Random
from typing import Any

import jsonschema
import pytest

from frontend.parsing import tool_format
from frontend.structured import ConstraintError
from tests.frontend.parsing.parsed import Function, calls_of, formats, read
from tests.frontend.parsing.structural import text_of
from tests.frontend.structured.pydantic_models import MODELS, schema_of

_NAME = "qwen3_coder"
_VALIDATOR = jsonschema.Draft202012Validator


def drawn(schema: dict[str, Any], count: int = 40) -> list[dict[str, Any]]:
    """Arguments that the grammar of the schema allows, as they are read back."""
    tool = Function("f", schema)
    form = tool_format(_NAME).arguments_format(schema)
    found = []
    for seed in range(count):
        text = f"<tool_call>\n<function=f>{text_of(form, Random(seed))}\n</function>\n</tool_call>"
        ((name, arguments),) = calls_of(read([text], formats(_NAME), tools=[tool], eager=True))
        assert name == "f"
        found.append(arguments)
    return found


def values(schema: Any, **rest: Any) -> list[Any]:
    found = drawn({"type": "object", "properties": {"a": schema}, "required": ["a"], **rest})
    for arguments in found:
        _VALIDATOR({"properties": {"a": schema}, **rest}, format_checker=_VALIDATOR.FORMAT_CHECKER).validate(
            arguments
        )
    return [arguments["a"] for arguments in found]


@pytest.mark.parametrize("name", MODELS)
def test_arguments_of_a_pydantic_model_validate(name: str) -> None:
    schema = schema_of(name)
    for arguments in drawn(schema):
        _VALIDATOR(schema, format_checker=_VALIDATOR.FORMAT_CHECKER).validate(arguments)
        MODELS[name].model_validate(arguments)


_TEXT = {"type": "string"}
_NULL = {"type": "null"}
_BOUNDED = {"type": "integer", "minimum": 100, "maximum": 200}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "maxLength": 4},
        {"type": "string", "minLength": 2},
        {"type": "string", "minLength": 30},
        {"type": "string", "minLength": 1, "maxLength": 32.0},
        {"type": "string", "minLength": 33, "maxLength": 70},
        {"type": "string", "pattern": "^[<a/]{3}", "maxLength": 60},
        {"type": ["string", "null"], "maxLength": 2},
        {"type": ["integer", "string"], "minimum": 7, "maximum": 8, "maxLength": 3},
        {"anyOf": [_TEXT, _NULL]},
        {"anyOf": [_TEXT, _BOUNDED]},
        {"anyOf": [{"type": "string", "pattern": "^(null|ab|5)$"}, _BOUNDED, {"type": "array"}]},
        {"anyOf": [{"type": "string", "format": "date"}, _NULL]},
        {"oneOf": [{"type": "string", "format": "uuid"}, {"type": "boolean"}]},
        {"allOf": [{"type": "string", "minLength": 2}, {"maxLength": 3}]},
        {"allOf": [{"type": ["string", "null"]}, {"type": "string"}]},
        {"$ref": "#/$defs/Two"},
        {"enum": ["5", "null", 7, None, "a b"]},
        {"type": "string", "enum": ["5", "null"]},
        {"const": ""},
        {"type": "array", "items": {"$ref": "#/$defs/Two"}, "maxItems": 2},
        {"minLength": 3, "maxLength": 4},
        {"anyOf": [{"type": "string", "maxLength": 300}, {"type": "array", "maxItems": 1}, _BOUNDED]},
        {"anyOf": [{"type": "string", "minLength": 50}, {"enum": [5, None, True]}]},
        {},
        True,
    ],
)
def test_values_validate(schema: Any) -> None:
    two = {"anyOf": [{"type": "string", "maxLength": 2}, _NULL]}
    assert values(schema, **{"$defs": {"Two": two}})


def test_every_alternative_is_written() -> None:
    found = values({"anyOf": [{"type": "string", "maxLength": 2}, _BOUNDED, _NULL]})
    assert {type(value) for value in found} == {str, int, type(None)}


def test_a_string_is_not_read_as_another_type() -> None:
    schema = {
        "anyOf": [{"type": "string", "enum": ["150", "5", "null", "[1]", "x"]}, _BOUNDED, {"type": "array"}]
    }
    found = values(schema)
    assert "x" in found
    assert "null" in found
    assert not {"5", "150", "[1]"} & {value for value in found if isinstance(value, str)}


def test_bounded_strings_may_contain_tags_that_begin() -> None:
    found = values({"type": "string", "minLength": 40, "maxLength": 90}) + values(
        {"type": "string", "maxLength": 9, "pattern": "^[<>]*$"}
    )
    assert any("<" in value for value in found)
    assert not any("</" in value for value in found)


def test_free_text_is_free() -> None:
    assert {"<p>x</p>", "[1]", " a\nb "} <= set(values(_TEXT))


def test_the_root_may_combine_schemas() -> None:
    schema = {
        "anyOf": [
            {"properties": {"a": {"type": "string", "maxLength": 3}}, "required": ["a"]},
            {"properties": {"b": {"enum": ["x", 5]}}, "required": ["b"]},
        ],
        "allOf": [{"$ref": "#/$defs/Both"}],
        "$defs": {"Both": {"type": "object", "properties": {"c": _BOUNDED}, "required": ["c"]}},
    }
    found = drawn(schema)
    for arguments in found:
        jsonschema.validate(arguments, schema)
    assert {"a", "b", "c"} <= {name for arguments in found for name in arguments}


def test_the_number_of_arguments_is_bounded() -> None:
    schema = {"type": "object", "properties": dict.fromkeys("abc", _BOUNDED), "maxProperties": 1}
    assert {len(arguments) for arguments in drawn(schema)} == {0, 1}


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"properties": {"a": _TEXT}, "minProperties": 1}, ".minProperties"),
        ({"enum": [{"a": 1}]}, ""),
        ({"properties": {"a": {"const": "</parameter>"}}, "required": ["a"]}, ".properties.a"),
        ({"patternProperties": {"^a": _TEXT}, "type": "object"}, ""),
        ({"properties": {"a": {"anyOf": [{"type": "string", "pattern": "(?=a)b"}, _NULL]}}}, None),
    ],
)
def test_what_cannot_be_enforced_is_rejected(schema: dict[str, Any], path: str | None) -> None:
    with pytest.raises(ConstraintError) as rejected:
        tool_format(_NAME).arguments_format(schema)
    assert rejected.value.path == (".properties.a.anyOf[0].pattern" if path is None else path)


def test_a_function_without_parameters_is_called_without() -> None:
    assert drawn({"type": "object", "properties": {}, "additionalProperties": False}, 2) == [{}, {}]
