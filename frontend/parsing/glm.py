"""GLM 4: a name and pairs of <arg_key> and <arg_value> tags in <tool_call> tags."""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from frontend.parsing.grammar import one_or_more, tag, triggered
from frontend.parsing.scanner import Malformed, Reading
from frontend.parsing.tagged_values import TaggedValues, Tags, parameters_format
from frontend.parsing.tool_formats import CallContext, MarkedCalls
from frontend.structured import Format

_START, _END = "<tool_call>", "</tool_call>"
_KEY, _KEY_END = "<arg_key>", "</arg_key>"
_VALUE, _VALUE_END = "<arg_value>", "</arg_value>"
_READABLE = r"[^\s<](?:[^<\r\n]*[^\s<])?"
_NAME = re.compile(r"[\w.:/-]*")


class Glm45(MarkedCalls):
    name = "glm45"
    starts = (_START,)
    newline: ClassVar[str] = "\n"  # between tags

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        scanner.into(scanner.drop)
        yield from scanner.space()
        name = yield from scanner.word(_NAME)
        if not name or name[0] in ".:/-":
            raise Malformed
        yield from scanner.space()
        if (yield from scanner.peek()) != "<":
            raise Malformed
        call = context.call()
        call.named(name)
        root = next((tool.parameters for tool in context.tools if tool.name == name), None)
        values = TaggedValues(call, root)
        while (yield from scanner.literal(_KEY)) is not None:
            values.begin((yield from scanner.before(_KEY_END)).strip())
            yield from scanner.space()
            yield from scanner.expect(_VALUE)
            values.add((yield from values.read(scanner, _VALUE_END, context.bound)))
            yield from scanner.space()
        if not (values.are_complete or (yield from scanner.peek())):
            raise Malformed  # more arguments may have been cut off
        yield from self.read_end(scanner, _END)
        values.end()
        call.complete()

    def arguments_format(self, schema: dict[str, Any] | None) -> Format:
        newline = self.newline
        return parameters_format(
            schema,
            Tags(f"{newline}{_KEY}", f"{_KEY_END}{newline}{_VALUE}", "", _VALUE_END, readable=_READABLE),
        )

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        named = [tag(name, arguments, "") for name, arguments in calls.items()]
        end = f"{self.newline}{_END}"
        tagged = tag(_START, one_or_more(named, f"{end}\n{_START}", parallel), end)
        return tagged if at_least_one else triggered([_START], [tagged], once=not parallel)


class Glm47(Glm45):
    """GLM 4.7 writes no newlines."""

    name = "glm47"
    newline = ""
