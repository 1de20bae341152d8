"""Parts of the grammars that force calls; tests/host/test_forced_calls.py holds them against the engine."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.errors import BadRequest
from frontend.parsing import tool_format
from frontend.parsing.grammar import ANY_TEXT, constant, unless_beginning_with
from tests.frontend.parsing.parsed import Function

_BEGINNINGS = ('{"name": "', "<|python_tag|>")


@given(st.text(st.sampled_from('{"name: <|python_tg>x'), max_size=16), st.sampled_from(["", *_BEGINNINGS]))
def test_other_text_is_all_that_does_not_begin_as_a_call_does(rest, before):
    pattern = unless_beginning_with(*_BEGINNINGS)["elements"][0]["pattern"]
    text = before + rest
    begins = any(beginning.startswith(text) or text.startswith(beginning) for beginning in _BEGINNINGS)
    assert (re.match(pattern, text) is None) == begins


def test_letters_that_the_engine_would_misread_are_written_as_a_pattern():
    assert constant("naïve")["type"] == "const_string"
    assert constant("°C (a|b)?") == {"type": "regex", "pattern": r"°C \(a\|b\)\?"}


def value_format(schema):
    function = Function("f", {"properties": {"a": schema}, "required": ["a"]})
    grammar = tool_format("qwen3_coder").grammar(
        [function], at_least_one=True, parallel=False, value=lambda schema: {"value": schema}
    )
    parameter = grammar["content"]["content"]["elements"][0]
    return parameter["content"]["elements"][1]


@pytest.mark.parametrize(
    ("schema", "pattern"),
    [
        ({"type": "string", "maxLength": 4}, "[^<]{0,4}"),
        ({"type": "string", "minLength": 2}, "[^<]{2,}"),
        ({"type": "string", "minLength": 1, "maxLength": 32.0}, "[^<]{1,32}"),
    ],
)
def test_a_string_without_quotes_keeps_to_short_lengths(schema, pattern):
    assert value_format(schema)["elements"][0] == {"type": "regex", "pattern": pattern}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "maxLength": 33},
        {"type": ["string", "null"], "maxLength": 2},
        {},
        True,
    ],
)
def test_other_strings_are_any_text(schema):
    assert value_format(schema) == ANY_TEXT


def test_a_value_that_is_no_string_is_written_as_the_caller_says():
    assert value_format({"type": "integer"})["elements"][0] == {"value": {"type": "integer"}}


def test_a_pattern_that_cannot_be_kept_is_refused():
    with pytest.raises(BadRequest):
        value_format({"type": "string", "pattern": "(?=a)b"})
