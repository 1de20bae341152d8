"""Llama 4 and others: the whole answer is a Python list of calls, such as [f(a=1), g(b="x")]."""

import json
import re
from collections.abc import Mapping
from typing import ClassVar

from frontend.parsing.calls import read_json_call
from frontend.parsing.grammar import either, one_or_more, tag, triggered, unless_beginning_with
from frontend.parsing.llama3_json import json_object_calls, read_json_calls
from frontend.parsing.python_literal import read_arguments
from frontend.parsing.scanner import Malformed, Reading
from frontend.parsing.tool_formats import CallContext, MarkedCalls, read_list
from frontend.structured import Format

_NAME = re.compile(r"[\w.-]*")
_JSON_BEGIN = '{"name": "'
_START = "<|python_start|>"


class Pythonic(MarkedCalls):
    """Also reads calls in the form of Llama 3, which grammars use to enforce schemas."""

    name = "pythonic"
    starts: ClassVar[tuple[str, ...]] = (_START, "<|tool_call_start|>")
    bare = "[{"
    beginnings: ClassVar[tuple[str, ...]] = (_JSON_BEGIN, "[", _START)
    needs_special_tokens = True
    turn_ends: ClassVar[tuple[str, ...]] = (
        *("<|python_end|>", "<|tool_call_end|>"),
        *("<|eot|>", "<|eom|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|im_end|>"),
    )

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        scanner.into(scanner.drop)
        yield from scanner.space()
        if not context.tools:
            raise Malformed
        following = yield from scanner.peek()
        if following == "{":
            yield from read_json_calls(context)
        elif context.mark and following != "[":
            yield from _read_call(context)
            return
        yield from read_list(scanner, lambda: _read_call(context))

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        """Calls are forced as JSON, also where the model begins a list of calls in Python."""
        tagged = json_object_calls(calls, parallel)
        if at_least_one:
            return tagged
        objects = [
            tag(f'{{"name": {json.dumps(name)}, "parameters": ', arguments, "}")
            for name, arguments in calls.items()
        ]
        listed = [tag(f"{mark}[", one_or_more(objects, ", ", parallel), "]") for mark in ("", _START)]
        return either(
            triggered(self.beginnings, [tagged, *listed], once=True, at_once=True),
            unless_beginning_with(*self.beginnings),
        )


def _read_call(context: CallContext) -> Reading[None]:
    """Read a call in Python or in JSON. Without a mark before it, the function must be one of the offered."""
    scanner, call = context.scanner, context.call()
    declared = {tool.name for tool in context.tools}
    if (yield from scanner.peek()) == "{":
        yield from read_json_call(scanner, call, None if context.mark else declared)
    else:
        name = yield from scanner.word(_NAME)
        if not name or not (context.mark or name in declared):
            raise Malformed
        yield from scanner.expect("(")
        call.named(name)
        call.write((yield from read_arguments(scanner)))
    call.complete()
