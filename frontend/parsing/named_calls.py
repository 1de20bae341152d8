"""Formats whose calls are a name and then the arguments as JSON, each between marks."""

import re
from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from frontend.parsing.calls import read_json_arguments
from frontend.parsing.grammar import one_or_more, tag, triggered
from frontend.parsing.scanner import Malformed, Reading, Scanner
from frontend.parsing.tool_formats import CallContext, MarkedCalls
from frontend.structured import Format

_FENCE = "```"
_NAME = re.compile(r"[^<>{}\r\n]*")


class NamedCalls(MarkedCalls):
    """A section of calls. Models sometimes omit its own marks, and the last ones of an answer."""

    section: ClassVar[tuple[str, str]]  # the marks around all calls
    begin: ClassVar[str]  # the mark before a call
    end: ClassVar[str]
    between: ClassVar[str] = ""  # what grammars put between two calls
    needs_special_tokens = True

    @abstractmethod
    def read_name(self, scanner: Scanner) -> Reading[str]:
        """Read from after `begin` to the arguments. Raises Malformed."""

    @abstractmethod
    def written(self, name: str, arguments: Format) -> Format:
        """The format of a call, after `begin` and before `end`."""

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        scanner.into(scanner.drop)
        if context.mark == self.section[0]:
            yield from scanner.space()
            yield from scanner.expect(self.begin)
        while True:
            call = context.call()
            call.named((yield from self.read_name(scanner)))
            yield from scanner.space()
            fenced = (yield from scanner.literal(_FENCE)) is not None
            if fenced:
                yield from scanner.literal("json")
                yield from scanner.space()
            yield from read_json_arguments(scanner, call)
            yield from scanner.space()
            if fenced:
                yield from scanner.literal(_FENCE)
                yield from scanner.space()
            yield from scanner.close(self.end, self.section[1])
            call.complete()
            scanner.hold()
            yield from scanner.space()
            if (yield from scanner.literal(self.begin)) is None:
                yield from scanner.may_close(self.section[1])
                return

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        tags = [tag("", self.written(name, arguments), "") for name, arguments in calls.items()]
        before, after = self.section
        several = one_or_more(tags, f"{self.end}{self.between}{self.begin}", parallel)
        whole = tag(f"{before}{self.begin}", several, f"{self.end}{after}")
        if at_least_one:
            return whole
        return triggered(self.starts, [whole, tag(self.begin, several, self.end)], once=True)


def name_before(scanner: Scanner, mark: str) -> Reading[str]:
    """Read a name up to and including `mark`. Raises Malformed."""
    name = (yield from scanner.word(_NAME)).strip()
    if not name:
        raise Malformed
    yield from scanner.expect(mark)
    return name
