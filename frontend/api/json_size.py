"""How much there is to decode in a JSON body, counted in C while its parts arrive.

Bytes alone do not bound the time that a decoder takes: five million empty lists fit into 14 MB, and a number
such as `1e308` costs a thousand times as much as `1`. The decoder holds the interpreter's lock, so a body
must be known to be harmless before it is decoded.
"""

import asyncio
import re
from collections.abc import Iterator

import msgspec

from frontend.errors import RequestTooLarge

PIECE_BYTES = 64 * 1024  # counted at once: about a millisecond

_STRING = re.compile(rb'"[^"]*"?')  # once escapes have been removed
_LONG_DIGITS = 20  # more than 64 bits hold
_LONG_NUMBER = b"0" * _LONG_DIGITS
_NORMALIZED = bytes.maketrans(b"123456789E{:", b"000000000e[,")


class JsonLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on what is in a body. None of them is met by requests that are meant to be answered."""

    nodes: int = 200_000  # strings (keys as well), lists and objects
    separators: int | None = 250_000  # commas and colons, hence values of any kind; None: as many as fit
    decimals: int = 20_000
    slow_numbers: int = 1_000  # in scientific notation, or longer than 64 bits
    escapes: int | None = 1_000_000  # such as \u4e2d; None: as many as fit


class JsonSize:
    """Counts over the parts of a body. What is inside a string does not count as structure."""

    def __init__(self) -> None:
        self.nodes = 0
        self.separators = 0
        self.decimals = 0
        self.slow_numbers = 0
        self.escapes = 0
        self._in_string = False
        self._digits = b""  # of a number that the next part may continue; normalized, already counted
        self._cut = b""  # a backslash whose escaped character is in the next part

    def add(self, part: bytes) -> None:
        """Count one part, of any size."""
        outside = self._outside_strings(part).translate(_NORMALIZED)
        self.nodes += outside.count(b"[")
        self.separators += outside.count(b",")
        self.decimals += outside.count(b".")
        outside = self._digits + outside
        self.slow_numbers += _slow_numbers(outside) - _slow_numbers(self._digits)
        self._digits = _last_digits(outside)

    async def add_in_turns(self, part: bytes, limits: JsonLimits) -> None:
        """Count one part, of any size, and give others their turn. Raises RequestTooLarge."""
        for number, piece in enumerate(pieces(part)):
            if number:
                await asyncio.sleep(0)
            self.add(piece)
            self.check(limits)

    def _outside_strings(self, part: bytes) -> bytes:
        part = self._cut + part
        self._cut = b""
        if b"\\" in part:
            part = part.replace(b"\\\\", b"")
            if part.endswith(b"\\"):
                part, self._cut = part[:-1], b"\\"
            part = part.replace(b'\\"', b"")
            self.escapes += part.count(b"\\u")
        quotes = part.count(b'"')
        if self._in_string:
            part = b'"' + part
        outside = _STRING.sub(b"", part) if quotes or self._in_string else part
        self.nodes += (quotes + (not self._in_string)) // 2  # strings that begin here
        self._in_string ^= bool(quotes % 2)
        return outside

    def check(self, limits: JsonLimits) -> None:
        """Raises RequestTooLarge with the limit that is exceeded."""
        for count, limit, what in (
            (self.nodes, limits.nodes, "strings, lists and objects"),
            (self.separators, limits.separators, "JSON values"),
            (self.decimals, limits.decimals, "decimal numbers"),
            (self.slow_numbers, limits.slow_numbers, "numbers with exponents or more than 19 digits"),
            (self.escapes, limits.escapes, r"characters escaped as \uXXXX; send them as UTF-8"),
        ):
            if limit is not None and count > limit:
                raise RequestTooLarge(f"the request body has more than {limit} {what}")


def _slow_numbers(outside: bytes) -> int:
    """The count in normalized text without strings; a long number counts once for every 20 digits."""
    return outside.count(b"0e") + outside.count(_LONG_NUMBER)


def _last_digits(outside: bytes) -> bytes:
    """As many of the digits at the end as decide how what follows is counted: at most 39."""
    digits = len(outside) - len(outside.rstrip(b"0"))
    return b"0" * (digits if digits < _LONG_DIGITS else _LONG_DIGITS + digits % _LONG_DIGITS)


def check_size(data: bytes) -> None:
    """Check a whole text that is not long, such as a message or a field. Raises RequestTooLarge."""
    size = JsonSize()
    size.add(data)
    size.check(JsonLimits())


def pieces(data: bytes) -> Iterator[bytes]:
    """The data in parts of at most PIECE_BYTES."""
    for start in range(0, len(data), PIECE_BYTES):
        yield data[start : start + PIECE_BYTES]
