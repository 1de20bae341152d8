"""How a call is passed on while it is read, and how one is read that is a JSON object."""

import json
from collections.abc import Collection
from typing import Any

import msgspec

from frontend.parsing import json_text
from frontend.parsing.scanner import Malformed, Reading, Scanner, Sink

_ARGUMENTS = ("arguments", "parameters")
_ALSO_KNOWN = ("type", "id")


class Call:
    """A call that is being read: passed on at once where `eager`, else when it is complete."""

    def __init__(self, scanner: Scanner, eager: bool) -> None:
        self._scanner = scanner
        self._eager = eager
        self._name = ""
        self._waiting: list[str] = []
        self._sink: Sink | None = None
        self._has_arguments = False

    def named(self, name: str) -> None:
        self._name = name
        if self._eager:
            self._begin()

    def write(self, text: str) -> None:
        """The next piece of the arguments."""
        self._has_arguments = True
        (self._sink or self._waiting.append)(text)

    def complete(self) -> None:
        """All that is held belonged to the call, or to its marks."""
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


def json_call(scanner: Scanner, call: Call, declared: Collection[str] | None = None) -> Reading[None]:
    """Reads `{"name": …, "arguments": {…}}` into `call`, up to its last brace. Raises Malformed.

    Where `declared` are given, nothing else marks a call: so its name must be among them, and it must have
    arguments and nothing that calls do not have.
    """
    seen = set()
    scanner.into(scanner.drop)
    yield from scanner.expect("{")
    while True:
        yield from scanner.space()
        key = yield from decoded_string(scanner)
        key = "arguments" if key in _ARGUMENTS else key
        if key in seen or (declared is not None and key not in ("name", "arguments", *_ALSO_KNOWN)):
            raise Malformed
        seen.add(key)
        yield from scanner.space()
        yield from scanner.expect(":")
        yield from scanner.space()
        if key == "name":
            name = yield from decoded_string(scanner)
            if not name or (declared is not None and name not in declared):
                raise Malformed
            call.named(name)
        elif key == "arguments":
            yield from json_arguments(scanner, call)
        else:
            yield from json_text.value(scanner)
        yield from scanner.space()
        if (yield from scanner.expect(",", "}")) == "}":
            break
    if "name" not in seen or (declared is not None and "arguments" not in seen):
        raise Malformed


def json_arguments(scanner: Scanner, call: Call) -> Reading[None]:
    """Reads an object as it is, one in a string, or null for an empty one. Raises Malformed."""
    first = yield from scanner.peek()
    if first == "{":
        scanner.into(call.write)
        yield from json_text.value(scanner)
        scanner.into(scanner.drop)
    elif first == '"':
        text = yield from decoded_string(scanner)
        if not isinstance(decoded(text), dict):
            raise Malformed
        call.write(text)
    else:
        yield from scanner.expect("null")


def decoded_string(scanner: Scanner) -> Reading[str]:
    """Reads a JSON string. Raises Malformed, also for one that is not Unicode."""
    literal: list[str] = []
    scanner.into(literal.append)
    yield from json_text.string(scanner)
    scanner.into(scanner.drop)
    text: str = json.loads("".join(literal))
    if not is_unicode(text):
        raise Malformed
    return text


def decoded(text: str) -> Any:
    """The JSON value that `text` is. Raises Malformed."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Malformed from error


def is_unicode(text: str) -> bool:
    """Whether it can be sent: a lone half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
