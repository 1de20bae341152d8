"""Compiling JSON schemas: what is rejected, the paths of faults, and the time it takes."""

import contextlib
import copy
import json
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings

from frontend.structured import ConstraintError, json_object, json_schema, limits
from tests.frontend.structured.sampler import texts
from tests.frontend.structured.schemas import SCHEMAS, obj, tagged
from tests.frontend.structured.strategies import JSON, SCHEMA, broken

SECONDS = 3.0  # for one schema, on a machine under load; most take milliseconds


def fault_path(schema: Any) -> str:
    with pytest.raises(ConstraintError) as rejected:
        json_schema(schema)
    assert rejected.value.message
    return rejected.value.path


def grammar(schema: Any) -> str:
    found = json_schema(schema)
    assert found.keys() == {"type", "grammar"} and found["type"] == "grammar"
    return str(found["grammar"])


@pytest.mark.parametrize("name", SCHEMAS)
def test_real_schemas_are_compiled_and_not_modified(name: str) -> None:
    before = copy.deepcopy(SCHEMAS[name])
    assert grammar(SCHEMAS[name]).startswith("root ::= ")
    assert before == SCHEMAS[name]


@pytest.mark.parametrize("name", sorted(SCHEMAS.keys() - {"long text"}))  # it needs lookahead
def test_every_text_of_a_grammar_validates(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "EBNF_BYTES", limits.GRAMMAR_BYTES)
    monkeypatch.setattr(limits, "EBNF_RULES", limits.GRAMMAR_RULES)
    validator = jsonschema.Draft202012Validator
    validates = validator(SCHEMAS[name], format_checker=validator.FORMAT_CHECKER).validate
    for text in texts(grammar(SCHEMAS[name]), 100):
        validates(json.loads(text))


def test_an_optional_tag_of_a_union_is_always_written() -> None:
    found = texts(grammar(SCHEMAS["tagged union with defaults"]), 100)
    assert {json.loads(text)["kind"] for text in found} == {"cat", "dog", "fox"}


def test_unions_of_many_large_classes_with_optional_tags_are_supported() -> None:
    fields = {f"f{i}": {"anyOf": [A, {"type": "null"}], "default": None} for i in range(20)}
    kinds = [tagged(f"k{i}") for i in range(15)]
    union = {"oneOf": [{**kind, "properties": {**fields, **kind["properties"]}} for kind in kinds]}
    assert grammar(union).startswith("root ::= ")


def test_a_short_pattern_uses_the_whole_range_of_its_length_limits() -> None:
    pattern = "^[a-z]+-[a-z]+$"
    found = texts(grammar({"type": "string", "pattern": pattern, "minLength": 9, "maxLength": 10}), 500)
    assert {len(json.loads(text)) for text in found} == {9, 10}


def test_any_json_object_has_a_grammar() -> None:
    assert json_object()["grammar"].startswith("root ::= ")


A = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "at"),
    [
        (5, ""),
        (None, ""),
        (False, ""),
        (obj(x={"type": "string", "pattern": "b(?!a)"}), ".properties.x.pattern"),
        (obj(x={"type": "string", "pattern": 5}), ".properties.x.pattern"),
        (obj(x={"type": "strnig"}), ".properties.x.type"),
        (obj(x={"$ref": "#/$defs/none"}), ".properties.x.$ref"),
        (obj(x={"$ref": "http://example.org/x.json"}), ".properties.x.$ref"),
        (obj(x=5), ".properties.x"),
        ({"anyOf": []}, ".anyOf"),
        ({"anyOf": [A, {"type": "array", "items": []}]}, ".anyOf[1].items"),
        ({"type": "array", "prefixItems": [A, 7]}, ".prefixItems[1]"),
        ({"enum": []}, ".enum"),
        ({"required": "x"}, ".required"),
        ({"type": "string", "minLength": -1}, ".minLength"),
        ({"type": "string", "minLength": 5, "maxLength": 3}, ".maxLength"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, ".minimum"),
        ({"type": "integer", "minimum": "5"}, ".minimum"),
        ({"type": "integer", "minimum": True}, ".minimum"),
        ({"type": "number", "multipleOf": 0.01}, ".multipleOf"),  # 0.29 / 0.01 is 28.999999999999996
        ({"type": "number", "multipleOf": 0.125}, ".multipleOf"),
        ({"type": "integer", "multipleOf": 101}, ".multipleOf"),
        ({"type": "integer", "multipleOf": 0}, ".multipleOf"),
        ({"type": "string", "format": "regex"}, ".format"),
        ({"type": "array", "items": A, "minItems": 3, "maxItems": 2}, ""),
        ({"type": "array", "items": A, "uniqueItems": True}, ".uniqueItems"),
        ({"type": "string", "pattern": "^a{5}$", "maxLength": 3}, ".pattern"),
        ({"type": "string", "pattern": "^[\u4e00-\u9fff]+$"}, ".pattern"),
        ({"type": "string", "pattern": "^((a|b|c){1,200}){1,200}$"}, ".pattern"),
        ({"oneOf": [A, {"type": "string", "maxLength": 3}]}, ".oneOf"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ".oneOf"),
        # The tags are always written but not required, so other values satisfy the second schema, too.
        ({"oneOf": [obj(n=A), {"oneOf": [tagged("cat"), tagged("dog")]}]}, ".oneOf"),
        ({"oneOf": [tagged("cat"), tagged("cat", lives=A)]}, ".oneOf"),
        ({"$ref": "#"}, ""),
        ({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}, ""),
        (obj(me={"$ref": "#"}), ""),
        ({"properties": {"a": False}, "required": ["a"]}, ""),
        ({"additionalProperties": False, "required": ["a"]}, ""),
        ({"const": 1, "enum": [2]}, ".const"),
        ({"type": "string", "enum": [1, 2]}, ""),
        (obj(x={"not": A}), ".properties.x.not"),
        ({"allOf": [{"if": A}]}, ".allOf[0].if"),
        ({"type": "object", "dependentRequired": {}}, ".dependentRequired"),
        ({"type": "array", "contains": A}, ".contains"),
        ({"enum": [float("nan")]}, ".enum[0]"),
        ({"enum": ["\ud800"]}, ".enum[0]"),
        ({"type": "object", "properties": {"b": A}, "minProperties": 2}, ""),
    ],
)
def test_a_fault_is_reported_with_its_path(schema: Any, at: str) -> None:
    assert fault_path(schema) == at


@pytest.mark.parametrize(
    "schema",
    [
        {
            "title": "T",
            "description": "D",
            "default": 5,
            "examples": [1],
            "$comment": "c",
            "deprecated": True,
            **A,
        },
        {"type": "string", "format": "made-up"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.org/x", **A},
        {"type": "string", "x-vendor": {"anything": 1}, "nullable": True},
        {"type": "string", "minimum": 5, "items": A},  # they apply to other types than string
    ],
)
def test_keywords_that_do_not_constrain_the_value_are_ignored(schema: dict[str, Any]) -> None:
    assert grammar(schema) == grammar(A)


def test_unnamed_properties_are_written_only_if_the_schema_asks_for_them() -> None:
    named = {"type": "object", "properties": {"a": A}}
    closed = grammar({**named, "additionalProperties": False})
    assert grammar(named) == closed
    assert grammar({**named, "additionalProperties": True}) != closed


def test_an_unbounded_integer_has_at_most_18_digits() -> None:
    assert grammar({"type": "integer"}) == grammar(
        {"type": "integer", "minimum": 1 - 10**18, "maximum": 10**18 - 1}
    )


def nested(levels: int) -> Any:
    schema: Any = A
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


HOSTILE = {
    "a huge text": {"enum": ["x" * 16_000_000]},
    "a huge list": {"enum": [1] * 4_000_000},
    "a huge key": {"type": "object", "properties": {"x" * 16_000_000: A}},
    "great depth": nested(100_000),
    "a deep value": {"const": nested(500)},
    "a large number of properties": obj(**{f"p{i}": A for i in range(9_000)}),
    "doubling references": {
        "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)} | {"d40": A},
        "$ref": "#/$defs/d0",
    },
    "a chain of references": {
        "$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(2_000)} | {"d2000": A},
        "$ref": "#/$defs/d0",
    },
    "a product of alternatives": {"allOf": [{"anyOf": [{"minLength": i} for i in range(9)]}] * 9},
    "many alternatives that may coincide": {"oneOf": [obj(**{f"p{i}": {"const": i}}) for i in range(700)]},
    "patterns that explode": obj(
        **{f"p{i}": {"type": "string", "pattern": f"^.*a.{{{i}}}$"} for i in range(99)}
    ),
    "many large numbers": obj(**{f"p{i}": {"type": "integer", "minimum": 3**i} for i in range(60)}),
    "long lists": {
        "type": "array",
        "items": {"type": "array", "minItems": 1_000, "items": nested(3)},
        "minItems": 1_000,
    },
    "many lengths": obj(**{f"p{i}": {"type": "string", "maxLength": i} for i in range(3_000)}),
    "many long patterns": obj(**{f"p{i}": {"type": "string", "pattern": "(a|b)" * 800} for i in range(30)}),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_schemas_take_little_time_and_their_grammars_little_space(what: str) -> None:
    start = time.perf_counter()
    with contextlib.suppress(ConstraintError):
        assert len(grammar(HOSTILE[what])) <= 2 * limits.GRAMMAR_BYTES
    assert time.perf_counter() - start < SECONDS


ANYTHING = settings(max_examples=300, suppress_health_check=list(HealthCheck))


@ANYTHING
@given(JSON | SCHEMA | broken())
def test_any_schema_is_compiled_or_rejected(schema: Any) -> None:
    start = time.perf_counter()
    try:
        json_schema(schema)
    except ConstraintError as rejected:
        assert rejected.message
        assert not rejected.path or rejected.path[0] in ".["
    assert time.perf_counter() - start < SECONDS
