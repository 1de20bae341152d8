"""Llama 3: the whole answer is a JSON object, optionally preceded by <|python_tag|>."""

import json
from collections.abc import Mapping

from frontend.parsing.calls import read_json_call
from frontend.parsing.grammar import (
    either,
    one_or_more,
    tag,
    triggered,
    unless_beginning_with,
)
from frontend.parsing.scanner import Reading
from frontend.parsing.tool_formats import CallContext, MarkedCalls
from frontend.structured import Format

_PYTHON_TAG = "<|python_tag|>"
_BEGIN = '{"name": "'


class Llama3Json(MarkedCalls):
    name = "llama3_json"
    starts = (_PYTHON_TAG,)
    bare = "{"
    beginnings = (_BEGIN, _PYTHON_TAG)
    needs_special_tokens = True
    turn_ends = ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        yield from scanner.space()
        yield from read_json_calls(context)

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        if at_least_one:
            return json_object_calls(calls, parallel)
        tags = [json_object_calls(calls, parallel, mark) for mark in ("", _PYTHON_TAG)]
        return either(
            triggered(self.beginnings, tags, once=True, at_once=True),
            unless_beginning_with(*self.beginnings),
        )


def read_json_calls(context: CallContext) -> Reading[None]:
    """Read calls that have no marks, separated by `;`, `,` or spaces. Raises Malformed."""
    scanner, declared = context.scanner, {tool.name for tool in context.tools}
    while True:
        call = context.call()
        yield from read_json_call(scanner, call, declared)
        call.complete()
        yield from scanner.newlines()
        scanner.hold()
        yield from scanner.space()
        yield from scanner.literal(";", ",")
        yield from scanner.space()


def json_object_calls(calls: Mapping[str, Format], parallel: bool, mark: str = "") -> Format:
    """A tag with one or several calls, as `read_json_calls` reads them."""
    objects = [
        tag(f'{json.dumps(name)[1:]}, "parameters": ', arguments, "}") for name, arguments in calls.items()
    ]
    # The tag's own begin and end enclose the calls, so that its extent counts as bounded.
    if not parallel:
        return tag(f"{mark}{_BEGIN}", either(*objects), "")
    several = [{**call, "end": ""} for call in objects]
    return tag(f"{mark}{_BEGIN}", one_or_more(several, f"}}; {_BEGIN}", parallel), "}")
