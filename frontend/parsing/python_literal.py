"""An incremental reader of Python keyword arguments, which returns JSON. Nothing is executed."""

import ast
import json
import re

from frontend.parsing.scanner import Malformed, Reading, Scanner, is_encodable

_MAX_DEPTH = 32  # of nested containers

_NAME = re.compile(r"\w*")
_PLAIN = {quote: re.compile(rf"[^{quote}\\\r\n\x00]*") for quote in "'\""}
_SCALAR = re.compile(r"[\w.+-]*")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_WORDS = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}


def read_arguments(scanner: Scanner) -> Reading[str]:
    """Read `a=1, b="x")`, that is, from after the opening parenthesis. Raises Malformed."""
    values: dict[str, object] = {}
    while True:
        yield from scanner.space()
        if (yield from scanner.literal(")")) is not None:
            break
        name = yield from scanner.word(_NAME)
        if not name or name in values:
            raise Malformed
        yield from scanner.space()
        yield from scanner.expect("=")
        values[name] = yield from _value(scanner, 0)
        if (yield from scanner.expect(",", ")")) == ")":
            break
    try:
        return json.dumps(values, ensure_ascii=False, allow_nan=False)
    except ValueError as error:  # an infinite float, or an integer too long to convert
        raise Malformed from error


def _value(scanner: Scanner, depth: int) -> Reading[object]:
    """Read a literal and the space around it."""
    yield from scanner.space()
    first = yield from scanner.peek()
    value: object
    if first and first in "'\"":
        value = yield from string(scanner)
    elif first and first in "[({":
        if depth == _MAX_DEPTH:
            raise Malformed
        scanner.advance()
        if first == "{":
            value = yield from _dict(scanner, depth + 1)
        else:
            value = yield from _list(scanner, "]" if first == "[" else ")", depth + 1)
    else:
        value = _scalar((yield from scanner.word(_SCALAR)))
    yield from scanner.space()
    return value


def _list(scanner: Scanner, closer: str, depth: int) -> Reading[list[object]]:
    values: list[object] = []
    while True:
        yield from scanner.space()
        if (yield from scanner.literal(closer)) is not None:
            return values
        values.append((yield from _value(scanner, depth)))
        if (yield from scanner.expect(",", closer)) == closer:
            return values


def _dict(scanner: Scanner, depth: int) -> Reading[dict[str, object]]:
    values: dict[str, object] = {}
    while True:
        yield from scanner.space()
        if (yield from scanner.literal("}")) is not None:
            return values
        key = yield from _value(scanner, depth)
        if not isinstance(key, str) or key in values:
            raise Malformed
        yield from scanner.expect(":")
        values[key] = yield from _value(scanner, depth)
        if (yield from scanner.expect(",", "}")) == "}":
            return values


def string(scanner: Scanner) -> Reading[str]:
    """Read and decode a string, at whose opening quote the scanner is. Raises Malformed."""
    quote = yield from scanner.peek()
    literal: list[str] = []
    scanner.into(literal.append)
    scanner.advance()
    while True:
        yield from scanner.run(_PLAIN[quote])
        if (yield from scanner.expect(quote, "\\")) == quote:
            break
        escape = yield from scanner.peek()
        if not escape or escape in "\r\n\x00":
            raise Malformed
        if escape not in "\\'\"abfnrtvxuUN":
            scanner.into(scanner.drop)  # Python keeps the backslash of an unknown escape, but warns
            literal.append("\\")
            scanner.into(literal.append)
        scanner.advance()
    scanner.into(scanner.drop)
    try:
        text = ast.literal_eval("".join(literal))
    except (SyntaxError, ValueError) as error:
        raise Malformed from error
    if not is_encodable(text):
        raise Malformed
    assert isinstance(text, str)
    return text


def _scalar(word: str) -> object:
    if word in _WORDS:
        return _WORDS[word]
    if _NUMBER.fullmatch(word) is None:
        raise Malformed
    try:
        return int(word)
    except ValueError:
        return float(word)
