"""Emits calls while they are read, and reads calls that are JSON objects."""

import json
from collections.abc import Callable, Collection
from typing import Any

import msgspec

from frontend.parsing import json_text, python_literal
from frontend.parsing.scanner import Malformed, Reading, Scanner, Sink, is_encodable

_NAME, _ARGUMENTS, _FUNCTION = "name", "arguments", "function"
_KEYS = {"parameters": _ARGUMENTS}
_KNOWN = (_NAME, _ARGUMENTS, _FUNCTION, "type", "id")


class Call:
    """A call that is being read. It is emitted piece by piece if `eager`, otherwise once it is complete."""

    def __init__(self, scanner: Scanner, eager: bool) -> None:
        self._scanner = scanner
        self.eager = eager
        self._name = ""
        self._waiting: list[str] = []
        self._sink: Sink | None = None
        self._has_arguments = False

    def named(self, name: str) -> None:
        self._name = name
        if self.eager:
            self._begin()

    def write(self, text: str) -> None:
        """Add a piece of the arguments."""
        self._has_arguments = True
        (self._sink or self._waiting.append)(text)

    def complete(self) -> None:
        """Emit what remains. All held text belonged to the call or its marks."""
        self._scanner.into(self._scanner.drop)
        if self._sink is None:
            self._begin()
        if not self._has_arguments:
            self.write("{}")

    def _begin(self) -> None:
        self._scanner.release()
        self._sink = self._scanner.begin_call(self._name)
        if self._waiting:
            self._sink("".join(self._waiting))


def read_json_call(scanner: Scanner, call: Call, declared: Collection[str] | None = None) -> Reading[None]:
    """Read `{"name": …, "arguments": {…}}` into `call`, up to the closing brace. Raises Malformed.

    `declared` is given if no mark precedes the call. Then its name must be one of these, it must have
    arguments, and it must not have unknown keys.
    """
    seen = set()
    scanner.into(scanner.drop)
    yield from scanner.expect("{")
    while True:
        yield from scanner.space()
        key = yield from read_string(scanner)
        key = _KEYS.get(key, key)
        twice = key in seen or (key == _FUNCTION and _NAME in seen)
        if twice or (declared is not None and key not in _KNOWN):
            raise Malformed
        seen.add(key)
        yield from scanner.space()
        yield from scanner.expect(":")
        yield from scanner.space()
        if key == _FUNCTION and (yield from scanner.peek()) == "{":
            if seen & {_NAME, _ARGUMENTS}:
                raise Malformed
            yield from read_json_call(scanner, call, declared)
            seen |= {_NAME, _ARGUMENTS}
        elif key in (_NAME, _FUNCTION):
            name = yield from read_string(scanner)
            if not name or (declared is not None and name not in declared):
                raise Malformed
            seen.add(_NAME)
            call.named(name)
        elif key == _ARGUMENTS:
            yield from read_json_arguments(scanner, call)
        else:
            yield from json_text.value(scanner, scanner.drop)
        yield from scanner.space()
        if (yield from scanner.expect(",", "}")) == "}":
            break
    if _NAME not in seen or (declared is not None and _ARGUMENTS not in seen):
        raise Malformed


def read_json_calls(
    scanner: Scanner,
    new_call: Callable[[], Call],
    declared: Collection[str] | None = None,
    *,
    row: bool = True,
) -> Reading[list[Call]]:
    """Read one call, several in a row unless `row` is false, or a list of them. Raises Malformed.

    The returned calls are still to be completed. Eager ones have been.
    """
    listed = (yield from scanner.literal("[")) is not None
    calls: list[Call] = []
    while True:
        yield from scanner.space()
        call = new_call()
        yield from read_json_call(scanner, call, declared)
        if call.eager:
            call.complete()
            scanner.hold()
        else:
            calls.append(call)
        if not (listed or row):
            return calls
        yield from scanner.space()
        if listed:
            if (yield from scanner.expect(",", "]")) == "]":
                return calls
        elif (yield from scanner.literal(",", ";")) is None and (yield from scanner.peek()) != "{":
            return calls


def read_json_arguments(scanner: Scanner, call: Call) -> Reading[None]:
    """Read an object, an object in a string, or null for an empty one. Raises Malformed."""
    first = yield from scanner.peek()
    if first == "{":
        yield from json_text.value(scanner, call.write)
    elif first and first in "'\"":
        text = (yield from read_string(scanner)) or "{}"
        if not isinstance(decode_json(text), dict):
            raise Malformed
        call.write(text)
    else:
        yield from scanner.expect("null", "None")


def read_string(scanner: Scanner) -> Reading[str]:
    """Read and decode a JSON string. Raises Malformed, also for lone surrogates."""
    if (yield from scanner.peek()) == "'":
        return (yield from python_literal.string(scanner))
    literal: list[str] = []
    scanner.into(literal.append)
    yield from json_text.string(scanner)
    scanner.into(scanner.drop)
    text: str = json.loads("".join(literal))
    if not is_encodable(text):
        raise Malformed
    return text


def decode_json(text: str) -> Any:
    """Decode JSON. Raises Malformed."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Malformed from error
