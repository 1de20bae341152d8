"""Llama 3: a JSON object that is the whole answer, with or without <|python_tag|> before it."""

import json
from collections.abc import Sequence

from frontend.parsing.calls import json_call
from frontend.parsing.formats import Attempt, MarkedCalls, Tool
from frontend.parsing.grammar import (
    Format,
    FormatOf,
    either,
    one_or_more,
    tag,
    triggered,
    unless_beginning_with,
)
from frontend.parsing.scanner import Reading

_PYTHON_TAG = "<|python_tag|>"
_BEGIN = '{"name": "'


class Llama3Json(MarkedCalls):
    name = "llama3_json"
    starts = (_PYTHON_TAG,)
    bare = True
    needs_special_tokens = True
    turn_ends = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")

    def read_calls(self, attempt: Attempt) -> Reading[None]:
        scanner = attempt.scanner
        yield from scanner.space()
        yield from json_calls(attempt)

    def grammar(
        self, tools: Sequence[Tool], *, at_least_one: bool, parallel: bool, value: FormatOf
    ) -> Format:
        if at_least_one:
            return json_object_calls(tools, parallel, value)
        calls = [json_object_calls(tools, parallel, value, mark) for mark in ("", _PYTHON_TAG)]
        return either(
            triggered([_BEGIN, _PYTHON_TAG], calls, once=True, at_once=True),
            unless_beginning_with(_BEGIN, _PYTHON_TAG),
        )


def json_calls(attempt: Attempt) -> Reading[None]:
    """Reads calls that only their names mark, with `;`, `,` or space between them. Raises Malformed."""
    scanner, declared = attempt.scanner, {tool.name for tool in attempt.tools}
    while True:
        call = attempt.call()
        yield from json_call(scanner, call, declared)
        call.complete()
        yield from scanner.newlines()
        scanner.hold()
        yield from scanner.space()
        yield from scanner.literal(";", ",")
        yield from scanner.space()


def json_object_calls(tools: Sequence[Tool], parallel: bool, value: FormatOf, mark: str = "") -> Format:
    """A tag of one call or several, as `json_calls` reads them."""
    calls = [
        tag(f'{json.dumps(tool.name)[1:]}, "parameters": ', value(tool.parameters), "}") for tool in tools
    ]
    # The brackets around the calls are the tag's own, so that their number is bounded for what is around.
    if not parallel:
        return tag(f"{mark}{_BEGIN}", either(*calls), "")
    several = [{**call, "end": ""} for call in calls]
    return tag(f"{mark}{_BEGIN}", one_or_more(several, f"}}; {_BEGIN}", parallel), "}")
