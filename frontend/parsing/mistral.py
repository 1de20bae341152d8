"""Mistral: [TOOL_CALLS] before a JSON list of calls, or in newer models before a name and [ARGS]."""

import json
import re
from collections.abc import Mapping

from frontend.parsing import json_text
from frontend.parsing.calls import read_json_call
from frontend.parsing.grammar import (
    NOTHING,
    either,
    one_or_more,
    sequence,
    tag,
    triggered,
)
from frontend.parsing.scanner import Malformed, Reading
from frontend.parsing.tool_formats import CallContext, MarkedCalls, read_list
from frontend.structured import Format

_START = "[TOOL_CALLS]"
_CALL_ID, _ARGS = "[CALL_ID]", "[ARGS]"
_NAME = re.compile(r"[\w.-]*")
_MAX_FORCED = 4  # calls in one answer, if the grammar has to count them


class Mistral(MarkedCalls):
    name = "mistral"
    starts = (_START,)
    needs_special_tokens = True
    turn_ends = ("</s>",)

    def __init__(self, listed: bool) -> None:
        """`listed`: the model writes lists. Both forms are read in any case."""
        self._listed = listed

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        yield from scanner.space()
        first = yield from scanner.peek()
        if first == "[":
            yield from read_list(scanner, lambda: _json_call(context))
        elif first == "{":
            yield from _json_call(context)
        else:
            yield from _named_call(context)

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        if self._listed:
            objects = [
                tag(f'{{"name": {json.dumps(name)}, "arguments": ', arguments, "}")
                for name, arguments in calls.items()
            ]
            whole = tag(f"{_START}[", one_or_more(objects, ", ", parallel), "]")
            return whole if at_least_one else triggered([_START], [whole], once=True)
        named = [tag(f"{_START}{name}{_ARGS}", arguments, "") for name, arguments in calls.items()]
        if at_least_one:
            return _up_to(_MAX_FORCED if parallel else 1, either(*named))
        return triggered([_START], named, once=not parallel)


def _up_to(count: int, call: Format) -> Format:
    """Nothing marks the end of the calls, so they are spelled out to bound their number."""
    calls = call
    for _ in range(count - 1):
        calls = sequence(call, either(NOTHING, calls))
    return calls


def _json_call(context: CallContext) -> Reading[None]:
    call = context.call()
    yield from read_json_call(context.scanner, call)
    call.complete()


def _named_call(context: CallContext) -> Reading[None]:
    scanner = context.scanner
    name = yield from scanner.word(_NAME)
    if not name:
        raise Malformed
    if (yield from scanner.literal(_CALL_ID)) is not None:
        yield from scanner.run(_NAME)
    yield from scanner.literal(_ARGS)
    yield from scanner.space()
    if (yield from scanner.peek()) != "{":
        raise Malformed
    call = context.call()
    call.named(name)
    yield from json_text.value(scanner, call.write)
    call.complete()
