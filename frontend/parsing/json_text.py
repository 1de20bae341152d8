"""An incremental JSON reader: checks each character once and leaves the text unchanged.

Models sometimes write a Python dictionary instead. Its words and its strings in single quotes become JSON.
"""

import json
import re

from frontend.parsing import python_literal
from frontend.parsing.scanner import Malformed, Reading, Scanner, Sink

MAX_DEPTH = 128  # of nested arrays and objects

_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_DIGITS = re.compile(r"[0-9]*")
_CLOSERS = {"{": "}", "[": "]"}
_EXPONENTS = ("e", "E")
_WORDS = {"t": "true", "f": "false", "n": "null"}
_PYTHON_WORDS = {"T": "True", "F": "False", "N": "None"}
_IN_JSON = {"True": "true", "False": "false", "None": "null"}


def value(scanner: Scanner, sink: Sink) -> Reading[None]:
    """Read one value into `sink`. Raises Malformed at the first invalid character."""
    scanner.into(sink)
    yield from _value(scanner, sink)
    scanner.into(scanner.drop)


def _value(scanner: Scanner, sink: Sink) -> Reading[None]:
    open_closers: list[str] = []
    while True:
        closer = yield from _scalar_or_opening(scanner, sink)
        if closer is not None:
            if len(open_closers) == MAX_DEPTH:
                raise Malformed
            open_closers.append(closer)
            yield from scanner.space()
            if (yield from scanner.peek()) != closer:
                if closer == "}":
                    yield from _key(scanner, sink)
                continue
        while open_closers:
            yield from scanner.space()
            if (yield from scanner.expect(open_closers[-1], ",")) == ",":
                yield from scanner.space()
                if open_closers[-1] == "}":
                    yield from _key(scanner, sink)
                break
            open_closers.pop()
        else:
            return


def _key(scanner: Scanner, sink: Sink) -> Reading[None]:
    """Read a key and its colon, up to the value."""
    yield from _string(scanner, sink)
    yield from scanner.space()
    yield from scanner.expect(":")
    yield from scanner.space()


def string(scanner: Scanner) -> Reading[None]:
    """Read a string with its quotes. Raises Malformed."""
    yield from scanner.expect('"')
    while True:
        yield from scanner.run(_PLAIN)
        if (yield from scanner.expect('"', "\\")) == '"':
            return
        escape = yield from scanner.peek()
        if not escape or escape not in '"\\/bfnrtu':
            raise Malformed
        scanner.advance()
        if escape == "u":
            for _ in range(4):
                digit = yield from scanner.peek()
                if not digit or digit not in "0123456789abcdefABCDEF":
                    raise Malformed
                scanner.advance()


def _string(scanner: Scanner, sink: Sink) -> Reading[None]:
    if (yield from scanner.peek()) != "'":
        yield from string(scanner)
        return
    scanner.into(scanner.drop)
    text = yield from python_literal.string(scanner)
    sink(json.dumps(text, ensure_ascii=False))
    scanner.into(sink)


def _scalar_or_opening(scanner: Scanner, sink: Sink) -> Reading[str | None]:
    """Read a scalar or an opening bracket. Returns the matching closing bracket, if any."""
    first = yield from scanner.peek()
    if first in _CLOSERS:
        scanner.advance()
        return _CLOSERS[first]
    if first and first in "'\"":
        yield from _string(scanner, sink)
    elif first in _WORDS:
        yield from scanner.expect(_WORDS[first])
    elif first in _PYTHON_WORDS:
        scanner.into(scanner.drop)
        sink(_IN_JSON[(yield from scanner.expect(_PYTHON_WORDS[first]))])
        scanner.into(sink)
    else:
        yield from _number(scanner)
    return None


def _number(scanner: Scanner) -> Reading[None]:
    following = yield from scanner.peek()
    if following == "-":
        scanner.advance()
        following = yield from scanner.peek()
    if following == "0":
        scanner.advance()
    else:
        yield from _digits(scanner)
    if (yield from scanner.peek()) == ".":
        scanner.advance()
        yield from _digits(scanner)
    if (yield from scanner.peek()) in _EXPONENTS:
        scanner.advance()
        yield from scanner.literal("+", "-")
        yield from _digits(scanner)


def _digits(scanner: Scanner) -> Reading[None]:
    first = yield from scanner.peek()
    if not first or first not in "0123456789":
        raise Malformed
    yield from scanner.run(_DIGITS)
