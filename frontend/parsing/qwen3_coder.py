"""Qwen3-Coder: <function=…> with a <parameter=…> per argument, whose type only the schema specifies."""

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from frontend.parsing.calls import Call
from frontend.parsing.grammar import one_or_more, tag, triggered
from frontend.parsing.scanner import Malformed, Reading, Scanner
from frontend.parsing.tagged_values import TaggedValues, Tags, parameters_format
from frontend.parsing.tool_formats import CallContext, MarkedCalls
from frontend.structured import Format

_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"
_NEXT, _LAST = f"\n{_PARAMETER}", f"\n{_FUNCTION_END}"  # at the beginning of a line
_TAGS = Tags(f"\n{_PARAMETER}", ">\n", "\n", _PARAMETER_END, readable=r"[^\s<>\"'](?:[^<>\r\n]*[^\s<>\"'])?")
_NAME = re.compile(r"[^<>\r\n]*")
_NO_TAG = re.compile(r"[^<]*")
_PLAIN = re.compile(r"[^<\n]*")


class Qwen3Coder(MarkedCalls):
    name = "qwen3_coder"
    starts = ("<tool_call>", _FUNCTION)  # models sometimes omit the first
    end: ClassVar[str] = "</tool_call>"

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        whole = context.mark != _FUNCTION
        if whole:
            yield from scanner.space()
            yield from scanner.expect(_FUNCTION)
        call = context.call()
        name = yield from _name(scanner)
        call.named(name)
        schema = next((tool.parameters for tool in context.tools if tool.name == name), None)
        closed = yield from _parameters(context, call, schema, self.end)
        if whole and not closed:
            yield from self.read_end(scanner, self.end)
        call.complete()
        if not whole and not closed:
            yield from scanner.newlines()
            yield from scanner.may_close(self.end)

    def arguments_format(self, schema: dict[str, Any] | None) -> Format:
        return parameters_format(schema, _TAGS)

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        named = [tag(f"{name}>", arguments, f"\n{_FUNCTION_END}") for name, arguments in calls.items()]
        begin = f"{self.starts[0]}\n{_FUNCTION}"
        several = one_or_more(named, f"\n{self.end}\n{begin}", parallel)
        whole, short = (tag(before, several, f"\n{self.end}") for before in (begin, _FUNCTION))
        return whole if at_least_one else triggered(self.starts, [whole, short], once=not parallel)


def _parameters(context: CallContext, call: Call, root: dict[str, Any] | None, end: str) -> Reading[bool]:
    """Read up to the end of the function and write a JSON object. True if the call's `end` was read, too."""
    scanner, values = context.scanner, TaggedValues(call, root)

    following: str | None = None
    while (
        name := following
        if following is not None
        else (yield from _opening(scanner, end, not context.bound and values.are_complete))
    ):
        if name == end:
            following = ""
            break
        values.begin(name)
        # With a grammar every parameter has its end tag, so anything else is part of the value.
        text, following = yield from _value(scanner, values, context.bound, end)
        values.add(text)
    values.end()
    return following is not None


def _opening(scanner: Scanner, end: str, complete: bool) -> Reading[str]:
    """Read the name of the next parameter; empty at the end of the function, `end` if the call ends there.

    So does a `complete` one at the end of the text.
    """
    yield from scanner.space()
    if complete and not (yield from scanner.peek()):
        return end
    found = yield from scanner.expect(_PARAMETER, _FUNCTION_END, end)
    return (yield from _name(scanner)) if found == _PARAMETER else found.removeprefix(_FUNCTION_END)


def _name(scanner: Scanner) -> Reading[str]:
    name = _bare((yield from scanner.word(_NAME)))
    if not name:
        raise Malformed
    yield from scanner.expect(">")
    return name


def _bare(name: str) -> str:
    """The name without the spaces and quotes that some models write around it."""
    name = name.strip()
    return name[1:-1] if len(name) > 2 and name[0] == name[-1] and name[0] in "\"'" else name


def _value(scanner: Scanner, values: TaggedValues, bound: bool, end: str) -> Reading[tuple[str, str | None]]:
    """Read up to the end of the parameter. One newline on each side of the value belongs to the tags.

    Unless a grammar has `bound` it, the end tag may be missing. Then the second result is what `_missed`
    returns, otherwise it is None. A value may itself contain calls: the end of a function that begins in it
    does not end it.
    """
    call_end = f"\n{end}"
    ends = (_PARAMETER_END,) if bound else (_PARAMETER_END, _NEXT, _LAST, call_end, _FUNCTION)
    functions = 0  # that began in the value and have not ended
    following: str | None = None
    parts: list[str] = []
    scanner.into(parts.append)
    while True:
        yield from scanner.run(_PLAIN)
        found = yield from scanner.literal(*ends)
        if found == _PARAMETER_END:
            scanner.into(parts.append)
            if not bound or not values.is_amid_string("".join(parts).removesuffix(found)):
                break
        elif found is None:
            if not (yield from scanner.peek()):
                raise Malformed
            scanner.advance()
        elif found == _FUNCTION:
            functions += 1
        elif functions:
            functions -= found == _LAST
        elif not bound:
            following = yield from _missed(scanner, found, parts, values.may_have, end)
            if following is not None:
                break
    scanner.into(scanner.drop)
    text = "".join(parts).removesuffix(found.strip())
    newline = "\r\n" if text.startswith("\r\n") else "\n"
    return text.removeprefix(newline).removesuffix("\n").removesuffix(newline[:-1]), following


def _missed(
    scanner: Scanner, found: str, parts: list[str], may_follow: Callable[[str], bool], end: str
) -> Reading[str | None]:
    """What follows a value without its end tag: a parameter's name, or "" if the call has ended, too.

    None if `found`, and what was read after it, is part of the value.
    """
    tried: list[str] = []
    scanner.into(tried.append)
    if found == _NEXT:
        yield from scanner.run(_NAME)
        named = (yield from scanner.literal(">")) is not None
        scanner.into(scanner.drop)
        name = _bare("".join(tried).removesuffix(">"))
        if named and may_follow(name):
            return name
    elif found != _LAST:  # the end of a call whose function has none
        yield from scanner.space()
        if not (yield from scanner.peek()):
            scanner.into(scanner.drop)
            return ""
    else:
        yield from scanner.space()
        try:
            yield from scanner.close(end)
        except Malformed:
            pass
        else:
            if not (yield from _ends_later(scanner, tried, end)):
                return ""
    scanner.into(parts.append)
    parts.extend(tried)
    return None


def _ends_later(scanner: Scanner, tried: list[str], end: str) -> Reading[bool]:
    """Whether the value's own end tag follows, before another call: then all up to it has been read.

    `tried` receives what is read. Otherwise nothing has been read.
    """
    scanner.into(tried.append)
    known = len(tried)
    while True:
        yield from scanner.run(_NO_TAG)
        found = yield from scanner.ahead(_PARAMETER_END, _PARAMETER, _FUNCTION, end.replace("/", ""))
        if found == _PARAMETER_END:
            return True
        if found is not None or not (yield from scanner.peek()):
            scanner.into(scanner.drop)
            scanner.unread("".join(tried[known:]))
            return False
        scanner.advance()
