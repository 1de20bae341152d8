"""Formats with an <invoke> tag per call and a <parameter> tag per argument, in a section of calls."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from frontend.parsing.grammar import one_or_more, tag, triggered
from frontend.parsing.scanner import Malformed, Reading, Scanner
from frontend.parsing.tagged_values import TaggedValues, Tags, parameters_format
from frontend.parsing.tool_formats import CallContext, MarkedCalls
from frontend.structured import Format

_NAME = re.compile(r'[^"<>\r\n]*')
_QUOTED = '">'
_TYPED = ('" string="true">', '" string="false">')


class Invocations(MarkedCalls):
    section: ClassVar[tuple[str, str]]  # the marks around all calls
    prefix: ClassVar[str] = ""  # of the names of the other tags
    is_typed: ClassVar[bool] = False  # an attribute states whether a value is a string
    needs_special_tokens = True

    def __init__(self) -> None:
        self._begin, self._end = f'<{self.prefix}invoke name="', f"</{self.prefix}invoke>"
        parameter = f'<{self.prefix}parameter name="'
        end = f"</{self.prefix}parameter>"
        self._tags = Tags(parameter, _QUOTED, "", end, _TYPED if self.is_typed else None, r'[^"<>\r\n]+')

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        scanner.into(scanner.drop)
        yield from scanner.space()
        yield from scanner.expect(self._begin)
        while True:
            yield from self._read_call(context)
            scanner.hold()
            yield from scanner.space()
            if (yield from scanner.literal(self._begin)) is None:
                break
        yield from self.read_end(scanner, self.section[1])

    def _read_call(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        call = context.call()
        name = yield from _name(scanner)
        yield from scanner.expect(_QUOTED)
        call.named(name)
        root = next((tool.parameters for tool in context.tools if tool.name == name), None)
        values = TaggedValues(call, root)
        while True:
            yield from scanner.space()
            if (yield from scanner.expect(self._tags.begin, self._end)) == self._end:
                break
            values.begin((yield from _name(scanner)))
            stated = yield from scanner.expect(_QUOTED, *_TYPED)
            is_string = stated == _TYPED[0]
            text = yield from values.read(scanner, self._tags.end, context.bound and not is_string)
            values.add(text, is_string)
        values.end()
        call.complete()

    def arguments_format(self, schema: dict[str, Any] | None) -> Format:
        return parameters_format(schema, self._tags)

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        named = [
            tag(f"{self._begin}{name}{_QUOTED}", arguments, self._end) for name, arguments in calls.items()
        ]
        before, after = self.section
        tagged = tag(f"{before}\n", one_or_more(named, "\n", parallel), f"\n{after}")
        return tagged if at_least_one else triggered([before], [tagged], once=True)


def _name(scanner: Scanner) -> Reading[str]:
    name = yield from scanner.word(_NAME)
    if not name:
        raise Malformed
    return name
