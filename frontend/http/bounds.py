"""Bounds on what a connection's parser collects of a request: its head, and what surrounds its body. Pure."""

MAX_HEAD_BYTES = 64 * 1024  # of a request line and its headers
MAX_HEADERS = 1000
# Of a body, besides its data: chunk extensions and trailers, which are ignored. Each byte of data may come
# with a chunk size of its own.
MAX_FRAMING_BYTES = 64 * 1024
_FRAMING_PER_BYTE = 16
_HEAD_PART_BYTES = 4096  # parsed at once, so that a head without an end is noticed
_VERSION_AND_END_BYTES = len(" HTTP/1.1\r\n" + "\r\n")
_LINE_BYTES = len(": \r\n")


class TooLarge(Exception):
    """The message says what exceeds which bound."""


class Bounds:
    """Counts for one connection. What the parser has reported of a head is known exactly; what it holds back
    of an unfinished one, within a part. The methods that count raise TooLarge."""

    def __init__(self) -> None:
        self.in_head = True  # a head is arriving or expected; else a body
        self._head_bytes = 0  # reported
        self._headers = 0
        self._unfinished_bytes = 0  # parsed since the head began
        self._begins = False  # the head, in the part that is being parsed
        self._ends = False  # a request, in that part
        self._framing_bytes = 0  # of the body, beyond what its data explain

    def next_part(self, data: memoryview) -> memoryview:
        """The beginning of `data` that is to be parsed at once."""
        return data[:_HEAD_PART_BYTES] if self.in_head else data

    def begin(self) -> None:
        self.in_head, self._begins = True, True
        self._head_bytes = self._headers = self._unfinished_bytes = 0

    def target(self, size: int) -> None:
        """A part of the request's target, in bytes."""
        self._add(size)

    def header(self, name: bytes, value: bytes) -> None:
        self._add(len(name) + len(value) + _LINE_BYTES)
        self._headers += 1
        if self._headers > MAX_HEADERS:
            raise TooLarge(f"the request has more than {MAX_HEADERS} headers")

    def method(self, method: bytes) -> None:
        """Known at the end of a head: with it, all has been counted."""
        self._add(len(method) + 1 + _VERSION_AND_END_BYTES)

    def end_head(self) -> None:
        self.in_head = False
        self._unfinished_bytes = self._framing_bytes = 0

    def body(self, size: int) -> None:
        self._framing_bytes -= (_FRAMING_PER_BYTE + 1) * size

    def end(self) -> None:
        """Of the request: what follows is the next head."""
        self.in_head = self._ends = True

    def parsed(self, size: int, *, was_in_head: bool) -> None:
        """A part was parsed. If the body ended within it, it may hold any number of other requests."""
        if not was_in_head:
            self._framing_bytes = max(0, self._framing_bytes + (0 if self._ends else size))
        elif self.in_head and not self._begins:
            self._unfinished_bytes += size
        self._begins = self._ends = False
        if self._unfinished_bytes > MAX_HEAD_BYTES:
            raise TooLarge(f"the request's headers exceed {MAX_HEAD_BYTES} bytes")
        if self._framing_bytes > MAX_FRAMING_BYTES:
            raise TooLarge(f"the body's chunk extensions or trailers exceed {MAX_FRAMING_BYTES} bytes")

    def _add(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            raise TooLarge(f"the request's headers exceed {MAX_HEAD_BYTES} bytes")
