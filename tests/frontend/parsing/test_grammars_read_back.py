"""What the grammar of each format allows, its parser reads; test_forced_calls.py asks the engine."""

import json
from random import Random

import jsonschema
import pytest

from tests.frontend.parsing import written
from tests.frontend.parsing.parsed import Function, calls_of, formats, read
from tests.frontend.parsing.structural import text_of

TOOL = Function(
    "f",
    {
        "type": "object",
        "properties": {
            "text": {"type": "string", "maxLength": 5},
            "free": {"type": "string"},
            "count": {"type": "integer"},
            "unit": {"enum": ["é", "}", None]},
            "either": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
            "list": {"type": "array", "items": {"type": "boolean"}, "maxItems": 3},
        },
        "required": ["text", "count", "unit", "list"],
        "additionalProperties": False,
    },
)
_STOP = Function("stop", {"type": "object", "properties": {}, "additionalProperties": False})


@pytest.mark.parametrize("tool", [TOOL, _STOP], ids=["f", "stop"])
@pytest.mark.parametrize("name", sorted(written.CALLS))
def test_what_a_grammar_allows_is_read(name, tool):
    dialect = formats(name)
    form = dialect.tool_format
    assert form is not None
    calls = {tool.name: form.arguments_format(tool.parameters)}
    grammar = form.grammar(calls, at_least_one=True, parallel=False)
    for seed in range(12):
        text = text_of(grammar, Random(seed))
        for eager in (False, True):
            events = read([text], dialect, tools=[tool], eager=eager)
            ((called, arguments),) = calls_of(events)
            assert len(events) == 2, text
            assert called == tool.name
            jsonschema.validate(arguments, tool.parameters)


@pytest.mark.parametrize("name", sorted(written.CALLS))
def test_each_form_of_a_grammar_can_be_made(name):
    form = formats(name).tool_format
    assert form is not None
    calls = {one.name: form.arguments_format(one.parameters) for one in (TOOL, _STOP, Function("g"))}
    for at_least_one in (False, True):
        for parallel in (False, True):
            grammar = form.grammar(calls, at_least_one=at_least_one, parallel=parallel)
            assert grammar["type"] == ("tag" if at_least_one else "triggered_tags")
            written_ones = json.dumps(grammar)
            assert all(tool in written_ones for tool in calls)
            assert parallel or grammar.get("stop_after_first", True)
