"""Formats whose calls are JSON objects between two marks, alone or in a list."""

import json
from collections.abc import Mapping
from typing import ClassVar

from frontend.parsing.calls import read_json_calls
from frontend.parsing.grammar import one_or_more, tag, triggered
from frontend.parsing.scanner import Reading
from frontend.parsing.tool_formats import CallContext, MarkedCalls
from frontend.structured import Format


class JsonBlocks(MarkedCalls):
    """Reads one call, several, or a list of them after each mark, whichever form the model was taught."""

    end: ClassVar[str] = ""  # the mark after the calls; empty if there is none
    written: ClassVar[tuple[str, str, str]]  # what grammars put before, between and after the objects
    repeated: ClassVar[bool] = False  # several calls are several blocks

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        scanner.into(scanner.drop)
        yield from scanner.space()
        calls = yield from read_json_calls(scanner, context.call)
        if self.end:
            yield from self.read_end(scanner, self.end)
        for call in calls:
            call.complete()

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        objects = [
            tag(f'{{"name": {json.dumps(name)}, "arguments": ', arguments, "}")
            for name, arguments in calls.items()
        ]
        before, between, after = self.written
        several = one_or_more(objects, between, parallel)
        if at_least_one:
            return tag(before, several, after)
        tags = [tag(before.replace(self.starts[0], start), several, after) for start in self.starts]
        return triggered(self.starts, tags, once=not (parallel and self.repeated))
