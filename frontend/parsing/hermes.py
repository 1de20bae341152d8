"""Hermes and Qwen: a JSON object in <tool_call> tags."""

import json
from collections.abc import Sequence

from frontend.parsing.calls import json_call
from frontend.parsing.formats import Attempt, MarkedCalls, Tool
from frontend.parsing.grammar import Format, FormatOf, one_or_more, tag, triggered
from frontend.parsing.scanner import Reading


class Hermes(MarkedCalls):
    name = "hermes"
    starts = ("<tool_call>",)

    def read_calls(self, attempt: Attempt) -> Reading[None]:
        scanner = attempt.scanner
        call = attempt.call()
        yield from scanner.space()
        yield from json_call(scanner, call)
        yield from scanner.space()
        yield from scanner.close("</tool_call>")
        call.complete()

    def grammar(
        self, tools: Sequence[Tool], *, at_least_one: bool, parallel: bool, value: FormatOf
    ) -> Format:
        calls = [
            tag(f'{{"name": {json.dumps(tool.name)}, "arguments": ', value(tool.parameters), "}")
            for tool in tools
        ]
        between = "\n</tool_call>\n<tool_call>\n"
        tagged = tag("<tool_call>\n", one_or_more(calls, between, parallel), "\n</tool_call>")
        return tagged if at_least_one else triggered(self.starts, [tagged], once=not parallel)
