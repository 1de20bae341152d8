"""Llama 3: a JSON object that is the whole answer, with or without <|python_tag|> before it."""

import json
from collections.abc import Mapping

from frontend.parsing.calls import json_call
from frontend.parsing.grammar import (
    either,
    one_or_more,
    tag,
    triggered,
    unless_beginning_with,
)
from frontend.parsing.scanner import Reading
from frontend.parsing.tool_formats import Attempt, MarkedCalls
from frontend.structured import Format

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

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        if at_least_one:
            return json_object_calls(calls, parallel)
        tags = [json_object_calls(calls, parallel, mark) for mark in ("", _PYTHON_TAG)]
        return either(
            triggered([_BEGIN, _PYTHON_TAG], tags, once=True, at_once=True),
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


def json_object_calls(calls: Mapping[str, Format], parallel: bool, mark: str = "") -> Format:
    """A tag of one call or several, as `json_calls` reads them."""
    objects = [
        tag(f'{json.dumps(name)[1:]}, "parameters": ', arguments, "}") for name, arguments in calls.items()
    ]
    # The brackets around the calls are the tag's own, so that their number is bounded for what is around.
    if not parallel:
        return tag(f"{mark}{_BEGIN}", either(*objects), "")
    several = [{**call, "end": ""} for call in objects]
    return tag(f"{mark}{_BEGIN}", one_or_more(several, f"}}; {_BEGIN}", parallel), "}")
