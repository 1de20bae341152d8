"""Reads the metadata of a GGUF file, never its tensors. The header is untrusted input.

The package `gguf` has a reader, too. It builds numpy arrays for every string of the vocabulary, and it trusts
all counts, so that a damaged one makes it run until memory is full. This one records offsets only, and checks
each of them against the file.
"""

import mmap
import struct
from pathlib import Path
from typing import Any

from host.convert.errors import DOWNLOAD_AGAIN, ConversionError
from host.convert.foreign import FIRST_BYTES, describe_foreign

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_HEADER = struct.Struct("<4sIQQ")  # magic, version, tensors, metadata entries
_MAX_ENTRIES = 65_536
_MAX_TENSORS = 65_536
_MAX_KEY_BYTES = 65_535
_MAX_STRING_BYTES = 4 * 1024**2  # the longest are chat templates
_MAX_STRINGS = 4 * 1024**2  # of all arrays: tokens and merges
_MAX_ARRAY_BYTES = 256 * 1024**2
_SCALARS = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_FLOATS = (6, 12)
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_ARRAY_HEAD = struct.Struct("<IQ")  # element type, count

Scalar = int | float | bool | str
Data = mmap.mmap | bytes


class GgufError(ConversionError):
    """The file is not a GGUF file that can be read."""


def damaged(cause: str) -> GgufError:
    return GgufError(f"the file is damaged: {cause}", DOWNLOAD_AGAIN)


def _cut(what: str) -> GgufError:
    return GgufError(
        f"the file is incomplete or damaged: {what} reaches past the end of the file", DOWNLOAD_AGAIN
    )


class GgufMetadata:
    """The scalars of the header, and where its arrays of strings and whole numbers are."""

    def __init__(self, data: Data) -> None:
        """Raises GgufError."""
        self.data = data
        self.values: dict[str, Scalar] = {}
        self.types: dict[str, int] = {}  # key -> type of the value, or of an array's elements
        self.places: dict[str, int] = {}  # key of a scalar -> its offset in the file
        self._strings: dict[str, tuple[int, int]] = {}  # key -> (count, offset of the first)
        self._numbers: dict[str, tuple[struct.Struct, int, int]] = {}  # key -> (element, offset, end)
        self._floats: dict[str, tuple[struct.Struct, int, int]] = {}
        self._string_count = 0
        magic, version, self.tensor_count, self.entry_count = self.unpack(_HEADER, 0)
        _check_header(magic, version, data)
        if self.entry_count > _MAX_ENTRIES or self.tensor_count > _MAX_TENSORS:
            raise damaged(f"{max(self.entry_count, self.tensor_count)} entries in the header are too many")
        self.begin = at = _HEADER.size
        for _ in range(self.entry_count):
            at = self._read_entry(at)
        self.end = at  # of the metadata; the list of tensors follows

    def integer(self, key: str) -> int | None:
        """A metadata value that is a whole number, else None."""
        value = self.values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        return value if isinstance(value, str) else None

    def count(self, key: str) -> int | None:
        """How many strings an array of strings holds, None if there is no such array."""
        return self._strings[key][0] if key in self._strings else None

    def element(self, key: str, index: int | None) -> str | None:
        """One entry of an array of strings, None if there is none."""
        count, at = self._strings.get(key, (0, 0))
        if index is None or not 0 <= index < count:
            return None
        for _ in range(index):
            at = self.string_end(at)
        return self.string(at)

    def strings(self, key: str) -> list[str]:
        """An array of strings; empty if there is none."""
        count, at = self._strings.get(key, (0, 0))
        found = []
        for _ in range(count):
            found.append(self.string(at))
            at = self.string_end(at)
        return found

    def integers(self, key: str) -> list[int]:
        """An array of whole numbers; empty if there is none."""
        if key not in self._numbers:
            return []
        element, at, end = self._numbers[key]
        return [int(value) for (value,) in element.iter_unpack(self.data[at:end])]

    def floats(self, key: str) -> list[float]:
        """An array of numbers with fractions; empty if there is none."""
        if key not in self._floats:
            return []
        element, at, end = self._floats[key]
        return [float(value) for (value,) in element.iter_unpack(self.data[at:end])]

    # --- parsing; each step returns the offset after what it read ------------------------------------

    def _read_entry(self, at: int) -> int:
        if self.unpack(_LENGTH, at)[0] > _MAX_KEY_BYTES:
            raise damaged("a metadata key is too long")
        key, at = self.string(at), self.string_end(at)
        if key in self.types:
            raise damaged(f"the metadata key {key[:100]} appears twice")
        (kind,) = self.unpack(_SCALARS[4], at)
        at += 4
        self.types[key] = kind
        if kind == _ARRAY:
            return self._read_array(key, at)
        self.places[key] = at
        if kind == _STRING:
            self.values[key] = self.string(at)
            return self.string_end(at)
        scalar = self._scalar(kind)
        (self.values[key],) = self.unpack(scalar, at)
        return at + scalar.size

    def _read_array(self, key: str, at: int) -> int:
        kind, count = self.unpack(_ARRAY_HEAD, at)
        at += _ARRAY_HEAD.size
        self.types[key] = kind
        if kind == _STRING:
            self._string_count += count
            if self._string_count > _MAX_STRINGS:
                raise damaged(f"{count} strings in the metadata are too many")
            self._strings[key] = (count, at)
            for _ in range(count):  # ends early at the end of the file
                at = self.string_end(at)
            return at
        size = int(count) * self._scalar(kind).size
        end = at + size
        if end > len(self.data):
            raise _cut("an array")
        if size > _MAX_ARRAY_BYTES:
            raise damaged(f"an array of {count} numbers in the metadata is too large")
        arrays = self._floats if kind in _FLOATS else self._numbers
        arrays[key] = (self._scalar(kind), at, end)
        return end

    def _scalar(self, kind: int) -> struct.Struct:
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise damaged(f"metadata of type {kind} is not supported")
        return scalar

    def string(self, at: int) -> str:
        return bytes(self.data[at + _LENGTH.size : self.string_end(at)]).decode("utf-8", "replace")

    def string_end(self, at: int) -> int:
        length = int(self.unpack(_LENGTH, at)[0])
        end = at + _LENGTH.size + length
        if end > len(self.data):
            raise _cut("a string")
        if length > _MAX_STRING_BYTES:
            raise damaged(f"a string of {length} bytes in the metadata is too long")
        return end

    def unpack(self, layout: struct.Struct, at: int) -> tuple[Any, ...]:
        if at + layout.size > len(self.data):
            raise _cut("its header")
        return layout.unpack_from(self.data, at)


def _check_header(magic: bytes, version: int, data: Data) -> None:
    if magic != _MAGIC:
        raise GgufError(*describe_foreign(bytes(data[:FIRST_BYTES])))
    if version & 0xFFFF == 0:
        raise GgufError("the GGUF file is for big-endian machines", "get the little-endian one")
    if version not in _VERSIONS:
        raise GgufError(f"GGUF version {version} is not supported", "get a newer file of this model")


def read_gguf_metadata(path: Path) -> GgufMetadata:
    """Raises GgufError, OSError. The file stays mapped as long as the result lives."""
    with path.open("rb") as file:
        if path.stat().st_size < _HEADER.size:
            raise GgufError(*describe_foreign(file.read(FIRST_BYTES)))
        return GgufMetadata(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
