"""Qwen3-Coder: <function=…> with a <parameter=…> per argument, whose type only the schema specifies."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from frontend.parsing.calls import Call
from frontend.parsing.grammar import (
    ANY_TEXT,
    NOTHING,
    constant,
    either,
    one_or_more,
    regex,
    sequence,
    tag,
    triggered,
)
from frontend.parsing.scanner import Malformed, Reading, Scanner
from frontend.parsing.schema_types import allowed_types, as_json, resolved
from frontend.parsing.tool_formats import CallContext, MarkedCalls
from frontend.structured import Format, faults_below, json_schema
from frontend.structured import regex as checked_regex
from frontend.structured.outputs import cache

_FUNCTION, _FUNCTION_END = "<function=", "</function>"
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"
_NEXT, _LAST = f"\n{_PARAMETER}", f"\n{_FUNCTION_END}"  # at the beginning of a line
_MAX_COUNTED = 32  # characters of a string; the engine would need seconds to count more
_NAME = re.compile(r"[^<>\r\n]*")
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
            yield from scanner.literal(self.end)

    def arguments_format(self, schema: dict[str, Any] | None) -> Format:
        return _parameters_format(schema)

    def grammar(self, calls: Mapping[str, Format], *, at_least_one: bool, parallel: bool) -> Format:
        named = [tag(f"{name}>", arguments, f"\n{_FUNCTION_END}") for name, arguments in calls.items()]
        start = self.starts[0]
        begin = f"{start}\n{_FUNCTION}"
        several = one_or_more(named, f"\n{self.end}\n{begin}", parallel)
        tagged = tag(begin, several, f"\n{self.end}")
        return tagged if at_least_one else triggered([start], [tagged], once=not parallel)


def _parameters(context: CallContext, call: Call, root: dict[str, Any] | None, end: str) -> Reading[bool]:
    """Read up to the end of the function and write a JSON object. True if the call's `end` was read, too."""
    scanner, schemas = context.scanner, _properties(root)
    seen: set[str] = set()

    def may_follow(name: str) -> bool:
        return bool(name) and name not in seen and (not schemas or name in schemas)

    def is_complete() -> bool:
        required = root.get("required") if root is not None else None
        return isinstance(required, list) and bool(seen) and seen.issuperset(required)

    following: str | None = None
    while name := following if following is not None else (
        yield from _opening(scanner, end, not context.eager and is_complete())
    ):
        if name == end:
            following = ""
            break
        if name in seen:
            raise Malformed
        before = ", " if seen else "{"
        seen.add(name)
        # With a grammar every parameter has its end tag, so anything else is part of the value.
        text, following = yield from _value(scanner, None if context.eager else may_follow, end)
        call.write(
            f"{before}{json.dumps(name, ensure_ascii=False)}: {as_json(text, schemas.get(name), root)}"
        )
    if seen:
        call.write("}")
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
    name = yield from scanner.word(_NAME)
    if not name:
        raise Malformed
    yield from scanner.expect(">")
    return name


def _value(
    scanner: Scanner, may_follow: Callable[[str], bool] | None, end: str
) -> Reading[tuple[str, str | None]]:
    """Read up to the end of the parameter. One newline on each side of the value belongs to the tags.

    With `may_follow` the end tag may be missing. Then the second result is what `_missed` returns, otherwise
    it is None. A value may itself contain calls: the end of a function that begins in it does not end it.
    """
    call_end = f"\n{end}"
    ends = (_PARAMETER_END,) if may_follow is None else (_PARAMETER_END, _NEXT, _LAST, call_end, _FUNCTION)
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
            following = yield from _missed(scanner, found, parts, may_follow, end)
            if following is not None:
                break
    scanner.into(scanner.drop)
    text = "".join(parts).removesuffix(found.strip())
    return text.removeprefix("\n").removesuffix("\n"), following


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
        name = "".join(tried).removesuffix(">")
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
            return ""
    scanner.into(parts.append)
    parts.extend(tried)
    return None


def _properties(schema: object) -> Mapping[str, Any]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    return properties if isinstance(properties, Mapping) else {}


# --- grammar ---------------------------------------------------------------------------------------------


@cache.memoize
def _parameters_format(root: dict[str, Any] | None) -> Format:
    """Parameters in the schema's order, of which optional ones may be missing; any without a schema."""
    if root is not None:
        json_schema(root)  # so that all families reject the same schemas
    properties = _properties(root)
    if not properties:
        if root is not None and root.get("additionalProperties") is False:
            return NOTHING
        anything = tag(f"\n{_PARAMETER}", regex(r"[a-zA-Z_][a-zA-Z0-9_]*>\n([^<]|<[^/])*"), _PARAMETER_END)
        return {**one_or_more([anything], "", parallel=True), "at_least_one": False}
    required = root.get("required") if root is not None else None
    parameters = []
    for name, schema in properties.items():
        with faults_below(f".properties.{name}"):
            named = sequence(constant(f"{name}>\n"), _value_format(schema, root))
        parameter = tag(f"\n{_PARAMETER}", named, _PARAMETER_END)
        parameters.append(
            parameter if isinstance(required, list) and name in required else either(parameter, NOTHING)
        )
    return sequence(*parameters)


def _value_format(schema: object, root: Mapping[str, Any] | None) -> Format:
    """The value and the newline after it. Strings have no quotes; free text may end with a newline.

    Raises ConstraintError for a pattern that no grammar can enforce.
    """
    schema = resolved(schema, root)
    types = allowed_types(schema, root)
    if not isinstance(schema, Mapping) or not types:
        return ANY_TEXT
    options = [schema["const"]] if "const" in schema else schema.get("enum")
    newline = constant("\n")
    if isinstance(options, list) and options:
        texts = [option if isinstance(option, str) else json.dumps(option) for option in options]
        return either(*(constant(f"{text}\n") for text in texts))
    if "string" not in types:
        definitions = {name: root[name] for name in ("$defs", "definitions") if root and name in root}
        return sequence(json_schema({**schema, **definitions}), newline)
    if types == {"string"} and "pattern" in schema:
        with faults_below(".pattern"):
            return sequence(checked_regex(schema["pattern"]), newline)
    if types == {"string"} and ("minLength" in schema or "maxLength" in schema):
        least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
        if max(least, most or 0) <= _MAX_COUNTED:
            return sequence(regex(f"[^<]{{{least},{'' if most is None else int(most)}}}"), newline)
    return ANY_TEXT
