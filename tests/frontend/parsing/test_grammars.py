"""Parts of the grammars of calls; tests/host/test_forced_calls.py runs them in the engine."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.parsing import TOOL_FORMAT_NAMES, tool_format
from frontend.parsing.grammar import ANY_TEXT, constant, unless_beginning_with
from frontend.structured import ConstraintError

_BEGINNINGS = ('{"name": "', "<|python_tag|>")


@given(st.text(st.sampled_from('{"name: <|python_tg>x'), max_size=16), st.sampled_from(["", *_BEGINNINGS]))
def test_other_text_is_any_text_that_does_not_begin_like_a_call(rest, before):
    pattern = unless_beginning_with(*_BEGINNINGS)["elements"][0]["pattern"]
    text = before + rest
    begins = any(beginning.startswith(text) or text.startswith(beginning) for beginning in _BEGINNINGS)
    assert (re.match(pattern, text) is None) == begins


def test_letters_that_the_engine_would_misread_are_written_as_a_pattern():
    assert constant("naïve")["type"] == "const_string"
    assert constant("°C (a|b)?") == {"type": "regex", "pattern": r"°C \(a\|b\)\?"}


def value_format(schema):
    arguments = tool_format("qwen3_coder").arguments_format({"properties": {"a": schema}, "required": ["a"]})
    return arguments["elements"][0]["content"]["elements"][1]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        {"type": "string", "format": "unknown"},
        {},
        True,
    ],
)
def test_a_string_without_quotes_and_bounds_is_any_text(schema):
    assert value_format(schema) == ANY_TEXT


@pytest.mark.parametrize("form", [name for name in TOOL_FORMAT_NAMES if name != "none"])
def test_a_schema_that_cannot_be_enforced_is_rejected_with_the_path_of_the_fault(form):
    schema = {"properties": {"a": {"type": "string", "pattern": "(?=a)b"}}}
    with pytest.raises(ConstraintError) as rejected:
        tool_format(form).arguments_format(schema)
    assert rejected.value.path == ".properties.a.pattern"


def test_a_fault_of_a_property_that_is_compiled_on_its_own_has_its_whole_path():
    """Qwen3-Coder writes arguments without JSON around them. Here no text can be the value."""
    with pytest.raises(ConstraintError) as rejected:
        tool_format("qwen3_coder").arguments_format({"properties": {"a": {"const": "</parameter>"}}})
    assert rejected.value.path == ".properties.a"


def test_a_property_may_refer_to_its_siblings():
    properties = {"a": {"type": "integer"}, "b": {"type": "array", "items": {"$ref": "#/properties/a"}}}
    assert tool_format("qwen3_coder").arguments_format({"properties": properties, "required": ["b"]})


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("qwen3_coder", "x<y"),
        ("qwen3_coder", '"a"'),
        ("qwen3_coder", "q>"),
        ("seed_oss", " a"),
        ("deepseek_v32", 'a"b'),
        ("minimax_m2", "a<b"),
        ("glm45", "a</arg_key>"),
        ("glm47", " a "),
    ],
)
def test_a_name_that_the_reader_would_take_for_another_is_rejected(form, name):
    schema = {"properties": {name: {"type": "integer"}}, "required": [name], "additionalProperties": False}
    with pytest.raises(ConstraintError, match="cannot be written"):
        tool_format(form).arguments_format(schema)
    assert tool_format("hermes").arguments_format(schema)
