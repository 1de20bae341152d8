"""Llama 4, LFM2 and others: a Python list of calls that is the whole answer, such as [f(a=1), g(b="x")]."""

from collections.abc import Mapping

from frontend.parsing.grammar import either, triggered, unless_beginning_with
from frontend.parsing.llama3_json import json_calls, json_object_calls
from frontend.parsing.python_literal import arguments
from frontend.parsing.scanner import Malformed, Reading
from frontend.parsing.tool_formats import Attempt, MarkedCalls, listed
from frontend.structured import Format

_JSON_BEGIN = '{"name": "'


class Pythonic(MarkedCalls):
    """Calls may also be written as Llama 3 does, which a grammar can keep to schemas."""

    name = "pythonic"
    starts = ("<|python_start|>", "<|tool_call_start|>")
    bare = True
    needs_special_tokens = True
    turn_ends = (
        *("<|python_end|>", "<|tool_call_end|>"),
        *("<|eot|>", "<|eom|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|im_end|>"),
    )

    def read_calls(self, attempt: Attempt) -> Reading[None]:
        scanner = attempt.scanner
        yield from scanner.space()
        if not attempt.tools:
            raise Malformed
        if (yield from scanner.peek()) == "{":
            yield from json_calls(attempt)
        beginnings = [f"{tool.name}(" for tool in attempt.tools]

        def one() -> Reading[None]:
            call = attempt.call()
            call.named((yield from scanner.expect(*beginnings))[:-1])
            call.write((yield from arguments(scanner)))
            call.complete()

        yield from listed(scanner, one)

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        """Calls in Python are not constrained: those that are forced are JSON."""
        tagged = json_object_calls(calls, parallel)
        if at_least_one:
            return tagged
        return either(
            triggered([_JSON_BEGIN], [tagged], once=True, at_once=True), unless_beginning_with(_JSON_BEGIN)
        )
