"""Mistral: [TOOL_CALLS] with a JSON list of calls, and in newer models with a name and [ARGS]."""

import json
import re
from collections.abc import Mapping

from frontend.parsing import json_text
from frontend.parsing.calls import json_call
from frontend.parsing.grammar import (
    NOTHING,
    either,
    one_or_more,
    sequence,
    tag,
    triggered,
)
from frontend.parsing.scanner import Malformed, Reading
from frontend.parsing.tool_formats import Attempt, MarkedCalls, listed
from frontend.structured import Format

_START = "[TOOL_CALLS]"
_CALL_ID, _ARGS = "[CALL_ID]", "[ARGS]"
_NAME = re.compile(r"[\w.-]*")
_MOST_FORCED = 4  # calls in one answer, where the grammar has to count them


class Mistral(MarkedCalls):
    name = "mistral"
    starts = (_START,)
    needs_special_tokens = True
    turn_ends = ("</s>",)

    def __init__(self, listed: bool) -> None:
        """Both ways are read. `listed`: the model writes lists."""
        self._listed = listed

    def read_calls(self, attempt: Attempt) -> Reading[None]:
        scanner = attempt.scanner
        yield from scanner.space()
        first = yield from scanner.peek()
        if first == "[":
            yield from listed(scanner, lambda: _json_call(attempt))
        elif first == "{":
            yield from _json_call(attempt)
        else:
            yield from _named_call(attempt)

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
            return _up_to(_MOST_FORCED if parallel else 1, either(*named))
        return triggered([_START], named, once=not parallel)


def _up_to(count: int, call: Format) -> Format:
    """Nothing ends the list, so its calls are spelled out where their number must have a bound."""
    calls = call
    for _ in range(count - 1):
        calls = sequence(call, either(NOTHING, calls))
    return calls


def _json_call(attempt: Attempt) -> Reading[None]:
    call = attempt.call()
    yield from json_call(attempt.scanner, call)
    call.complete()


def _named_call(attempt: Attempt) -> Reading[None]:
    scanner = attempt.scanner
    name = yield from scanner.word(_NAME)
    if not name:
        raise Malformed
    if (yield from scanner.literal(_CALL_ID)) is not None:
        yield from scanner.run(_NAME)
    yield from scanner.literal(_ARGS)
    yield from scanner.space()
    if (yield from scanner.peek()) != "{":
        raise Malformed
    call = attempt.call()
    call.named(name)
    scanner.into(call.write)
    yield from json_text.value(scanner)
    call.complete()
