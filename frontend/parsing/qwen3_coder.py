"""Qwen3-Coder: <function=…> with a <parameter=…> per argument, whose type only the schema specifies."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from frontend.parsing.calls import Call
from frontend.parsing.grammar import (
    ANY_TEXT,
    NOTHING,
    constant,
    ebnf,
    either,
    one_or_more,
    regex,
    sequence,
    tag,
    triggered,
)
from frontend.parsing.scanner import Malformed, Reading, Scanner
from frontend.parsing.schema_types import argument_schemas, as_json
from frontend.parsing.tool_formats import CallContext, MarkedCalls
from frontend.parsing.unquoted import unquoted_arguments
from frontend.structured import Format, json_schema
from frontend.structured.outputs import cache
from frontend.structured.unquoted import Form

_START, _END = "<tool_call>", "</tool_call>"
_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"
_NEXT, _LAST = f"\n{_PARAMETER}", f"\n{_FUNCTION_END}"  # at the beginning of a line
_VALUE_END = f"\n{_PARAMETER_END}"
_ANY_NAME = "[a-zA-Z_][a-zA-Z0-9_]*"
_NAME = re.compile(r"[^<>\r\n]*")
_PLAIN = re.compile(r"[^<\n]*")


class Qwen3Coder(MarkedCalls):
    name = "qwen3_coder"
    starts = (_START, _FUNCTION)  # models sometimes omit the first

    def read_calls(self, context: CallContext) -> Reading[None]:
        scanner = context.scanner
        if context.mark == _START:
            yield from scanner.space()
            yield from scanner.expect(_FUNCTION)
        call = context.call()
        name = yield from _name(scanner)
        call.named(name)
        schema = next((tool.parameters for tool in context.tools if tool.name == name), None)
        closed = yield from _parameters(context, call, schema)
        if context.mark == _START and not closed:
            yield from scanner.space()
            yield from scanner.close(_END)
        call.complete()
        if context.mark != _START and not closed:
            yield from scanner.newlines()
            yield from scanner.literal(_END)

    def arguments_format(self, schema: dict[str, Any] | None) -> Format:
        return _parameters_format(schema)

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        named = [tag(f"{name}>", arguments, f"\n{_FUNCTION_END}") for name, arguments in calls.items()]
        begin = f"{_START}\n{_FUNCTION}"
        several = one_or_more(named, f"\n{_END}\n{begin}", parallel)
        tagged = tag(begin, several, f"\n{_END}")
        return tagged if at_least_one else triggered([_START], [tagged], once=not parallel)


def _parameters(context: CallContext, call: Call, root: dict[str, Any] | None) -> Reading[bool]:
    """Read up to the end of the function and write a JSON object. True if the call's end was read, too."""
    scanner, schemas = context.scanner, argument_schemas(root)
    seen: set[str] = set()

    def may_follow(name: str) -> bool:
        return bool(name) and name not in seen and (not schemas or name in schemas)

    following: str | None = None
    while name := following if following is not None else (yield from _opening(scanner)):
        if name in seen:
            raise Malformed
        before = ", " if seen else "{"
        seen.add(name)
        # With a grammar every parameter has its end tag, so anything else is part of the value.
        text, following = yield from _value(scanner, None if context.eager else may_follow)
        call.write(
            f"{before}{json.dumps(name, ensure_ascii=False)}: {as_json(text, schemas.get(name), root)}"
        )
    if seen:
        call.write("}")
    return following is not None


def _opening(scanner: Scanner) -> Reading[str]:
    """Read the name of the next parameter; empty at the end of the function."""
    yield from scanner.space()
    last = (yield from scanner.expect(_PARAMETER, _FUNCTION_END)) == _FUNCTION_END
    return "" if last else (yield from _name(scanner))


def _name(scanner: Scanner) -> Reading[str]:
    name = yield from scanner.word(_NAME)
    if not name:
        raise Malformed
    yield from scanner.expect(">")
    return name


def _value(scanner: Scanner, may_follow: Callable[[str], bool] | None) -> Reading[tuple[str, str | None]]:
    """Read up to the end of the parameter. One newline on each side of the value belongs to the tags.

    With `may_follow` the end tag may be missing. Then the second result is what `_missed` returns, otherwise
    it is None. A value may itself contain calls: the end of a function that begins in it does not end it.
    """
    ends = (_PARAMETER_END,) if may_follow is None else (_PARAMETER_END, _NEXT, _LAST, _FUNCTION)
    functions = 0  # that began in the value and have not ended
    following: str | None = None
    parts: list[str] = []
    scanner.into(parts.append)
    while True:
        yield from scanner.run(_PLAIN)
        found = yield from scanner.literal(*ends)
        if found == _PARAMETER_END:
            break
        if found is None:
            if not (yield from scanner.peek()):
                raise Malformed
            scanner.advance()
        elif found == _FUNCTION:
            functions += 1
        elif functions:
            functions -= found == _LAST
        elif may_follow is not None:
            following = yield from _missed(scanner, found, parts, may_follow)
            if following is not None:
                break
    scanner.into(scanner.drop)
    text = "".join(parts).removesuffix(found.strip())
    return text.removeprefix("\n").removesuffix("\n"), following


def _missed(
    scanner: Scanner, found: str, parts: list[str], may_follow: Callable[[str], bool]
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
        name = "".join(tried).removesuffix(">")
        if named and may_follow(name):
            return name
    else:
        yield from scanner.space()
        try:
            yield from scanner.close(_END)
        except Malformed:
            pass
        else:
            return ""
    scanner.into(parts.append)
    parts.extend(tried)
    return None


# --- grammar ---------------------------------------------------------------------------------------------


@cache.memoize
def _parameters_format(root: dict[str, Any] | None) -> Format:
    """Parameters in the schema's order, of which optional ones may be missing; any without a schema."""
    if root is None:
        return _any_parameters(None)
    json_schema(root)  # so that all families reject the same schemas
    return either(*(_form(form) for form in unquoted_arguments(root, _VALUE_END)))


def _form(form: Form) -> Format:
    if form.unnamed is not None:
        return _any_parameters(form.unnamed.grammar)
    parameters = [
        _parameter(constant(f"{one.name}>\n"), one.grammar)
        if one.required
        else either(_parameter(constant(f"{one.name}>\n"), one.grammar), NOTHING)
        for one in form.parameters
    ]
    return sequence(*parameters) if parameters else NOTHING


def _parameter(name: Format, value: str | None) -> Format:
    if value is None:
        return tag(f"\n{_PARAMETER}", sequence(name, ANY_TEXT), _PARAMETER_END)
    return tag(f"\n{_PARAMETER}", sequence(name, ebnf(value)), "")


def _any_parameters(value: str | None) -> Format:
    if value is None:
        anything = tag(f"\n{_PARAMETER}", regex(rf"{_ANY_NAME}>\n([^<]|<[^/])*"), _PARAMETER_END)
    else:
        anything = _parameter(regex(rf"{_ANY_NAME}>\n"), value)
    return {**one_or_more([anything], "", parallel=True), "at_least_one": False}
