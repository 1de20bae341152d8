"""Llama 4, LFM2 and others: the whole answer is a Python list of calls, such as [f(a=1), g(b="x")]."""

from collections.abc import Mapping

from frontend.parsing.grammar import either, triggered, unless_beginning_with
from frontend.parsing.llama3_json import json_object_calls, read_json_calls
from frontend.parsing.python_literal import read_arguments
from frontend.parsing.scanner import Malformed, Reading
from frontend.parsing.tool_formats import CallContext, MarkedCalls, read_list
from frontend.structured import Format

_JSON_BEGIN = '{"name": "'


class Pythonic(MarkedCalls):
    """Also reads calls in the form of Llama 3, which grammars use to enforce schemas."""

    name = "pythonic"
    starts = ("<|python_start|>", "<|tool_call_start|>")
    bare = "[{"
    needs_special_tokens = True
    turn_ends = (
        *("<|python_end|>", "<|tool_call_end|>"),
        *("<|eot|>", "<|eom|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|im_end|>"),
    )

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        yield from scanner.space()
        if not context.tools:
            raise Malformed
        if (yield from scanner.peek()) == "{":
            yield from read_json_calls(context)
        beginnings = [f"{tool.name}(" for tool in context.tools]

        def one() -> Reading[None]:
            call = context.call()
            call.named((yield from scanner.expect(*beginnings))[:-1])
            call.write((yield from read_arguments(scanner)))
            call.complete()

        yield from read_list(scanner, one)

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        """Calls in Python are not constrained; forced calls are JSON."""
        tagged = json_object_calls(calls, parallel)
        if at_least_one:
            return tagged
        return either(
            triggered([_JSON_BEGIN], [tagged], once=True, at_once=True), unless_beginning_with(_JSON_BEGIN)
        )
