"""How values are stored: a header with the layout's version and a checksum, then the encoded value.

A record that cannot be decoded counts as absent. It may have been damaged, or written by another version of
this server that shares the store.
"""

import logging
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")

# No MessagePack or JSON value begins with this byte, so records from before the header are recognized.
_MARK = 0xC1
_HEADER = struct.Struct(">BHI")  # mark, layout version, CRC-32 of the version and the body
_MAX_REPORTED = 1000  # keys

log = logging.getLogger("nacelle.sessions")


class Codec(Generic[T]):
    """Encodes values of one kind in the current layout, and decodes every layout that has a reader."""

    def __init__(
        self,
        kind: str,
        version: int,
        encode: Callable[[T], bytes],
        readers: Mapping[int, Callable[[bytes], T]],
    ) -> None:
        """`kind` is for the log. `readers` decode the body of a record, by layout version; they raise
        ValueError (as msgspec does) or RecursionError for a body that does not fit the layout."""
        self._kind = kind
        self._version = version
        self._encode = encode
        self._readers = readers
        self._reported: set[str] = set()

    def encode(self, value: T) -> bytes:
        body = self._encode(value)
        return _HEADER.pack(_MARK, self._version, _checksum(self._version, body)) + body

    def decode(self, key: str, data: bytes) -> T | None:
        """None for a record that cannot be decoded, which is logged once without its content."""
        try:
            return self._decoded(data)
        except (ValueError, RecursionError) as error:
            # The decoder's own message may quote the content.
            reason = str(error) if isinstance(error, _Unreadable) else "it does not match its layout"
            self._report(key, reason)
            return None

    def _decoded(self, data: bytes) -> T:
        if len(data) < _HEADER.size or data[0] != _MARK:
            raise _Unreadable("it has no version")
        _, version, checksum = _HEADER.unpack_from(data)
        body = data[_HEADER.size :]
        if checksum != _checksum(version, body):
            raise _Unreadable("it is damaged")
        reader = self._readers.get(version)
        if reader is None:
            raise _Unreadable(f"its layout has the unknown version {version}")
        return reader(body)

    def _report(self, key: str, reason: str) -> None:
        if key in self._reported:
            return
        if len(self._reported) == _MAX_REPORTED:
            self._reported.clear()
        self._reported.add(key)
        log.warning("ignoring the stored %s %r: %s", self._kind, key, reason)


class _Unreadable(ValueError):
    """The message says why a record cannot be read, without its content."""


def _checksum(version: int, body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(version.to_bytes(2, "big")))
