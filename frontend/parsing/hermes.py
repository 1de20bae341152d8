"""Hermes and Qwen: JSON objects in <tool_call> tags."""

import json
from collections.abc import Mapping

from frontend.parsing.calls import read_json_call
from frontend.parsing.grammar import one_or_more, tag, triggered
from frontend.parsing.scanner import Reading
from frontend.parsing.tool_formats import CallContext, MarkedCalls
from frontend.structured import Format


class Hermes(MarkedCalls):
    name = "hermes"
    starts = ("<tool_call>",)

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        call = context.call()
        yield from scanner.space()
        yield from read_json_call(scanner, call)
        yield from scanner.space()
        yield from scanner.close("</tool_call>")
        call.complete()

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        objects = [
            tag(f'{{"name": {json.dumps(name)}, "arguments": ', arguments, "}")
            for name, arguments in calls.items()
        ]
        between = "\n</tool_call>\n<tool_call>\n"
        tagged = tag("<tool_call>\n", one_or_more(objects, between, parallel), "\n</tool_call>")
        return tagged if at_least_one else triggered(self.starts, [tagged], once=not parallel)
