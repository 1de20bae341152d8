"""Reads the metadata of a GGUF file, never its tensors. The header is untrusted input."""

import mmap
import struct
from pathlib import Path
from typing import Any

from host.convert.errors import ConversionError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_HEADER = struct.Struct("<4sIQQ")  # magic, version, tensors, metadata entries
_MAX_ENTRIES = 65_536
_MAX_KEY_BYTES = 65_535
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


class GgufError(ConversionError):
    """The file is not a GGUF file that can be read."""


class GgufMetadata:
    """The scalars of the header, and where its arrays of strings and whole numbers are."""

    def __init__(self, data: "mmap.mmap | bytes") -> None:
        """Raises GgufError."""
        self._data = data
        self.values: dict[str, Scalar] = {}
        self._strings: dict[str, tuple[int, int]] = {}  # key -> (count, offset of the first)
        self._numbers: dict[str, tuple[struct.Struct, int, int]] = {}  # key -> (element, offset, end)
        self._floats: dict[str, tuple[struct.Struct, int, int]] = {}
        magic, version, _, entries = self._unpack(_HEADER, 0)
        if magic != _MAGIC:
            raise GgufError("not a GGUF file")
        if version not in _VERSIONS:
            raise GgufError(f"GGUF version {version} is not supported")
        if entries > _MAX_ENTRIES:
            raise GgufError(f"{entries} metadata entries are too many")
        at = _HEADER.size
        for _ in range(entries):
            at = self._read_entry(at)

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
            at = self._string_end(at)
        return self._string(at)

    def strings(self, key: str) -> list[str]:
        """An array of strings; empty if there is none."""
        count, at = self._strings.get(key, (0, 0))
        found = []
        for _ in range(count):
            found.append(self._string(at))
            at = self._string_end(at)
        return found

    def integers(self, key: str) -> list[int]:
        """An array of whole numbers; empty if there is none."""
        if key not in self._numbers:
            return []
        element, at, end = self._numbers[key]
        return [int(value) for (value,) in element.iter_unpack(self._data[at:end])]

    def floats(self, key: str) -> list[float]:
        """An array of numbers with fractions; empty if there is none."""
        if key not in self._floats:
            return []
        element, at, end = self._floats[key]
        return [float(value) for (value,) in element.iter_unpack(self._data[at:end])]

    # --- parsing; each step returns the offset after what it read ------------------------------------

    def _read_entry(self, at: int) -> int:
        if self._unpack(_LENGTH, at)[0] > _MAX_KEY_BYTES:
            raise GgufError("a metadata key is too long")
        key, at = self._string(at), self._string_end(at)
        (kind,) = self._unpack(_SCALARS[4], at)
        at += 4
        if kind == _STRING:
            self.values[key] = self._string(at)
            return self._string_end(at)
        if kind == _ARRAY:
            return self._read_array(key, at)
        scalar = self._scalar(kind)
        (self.values[key],) = self._unpack(scalar, at)
        return at + scalar.size

    def _read_array(self, key: str, at: int) -> int:
        kind, count = self._unpack(_ARRAY_HEAD, at)
        at += _ARRAY_HEAD.size
        if kind == _STRING:
            self._strings[key] = (count, at)
            for _ in range(count):  # ends early at the end of the file
                at = self._string_end(at)
            return at
        end = at + int(count) * self._scalar(kind).size
        if end > len(self._data):
            raise GgufError("an array reaches past the end of the file")
        arrays = self._floats if kind in _FLOATS else self._numbers
        arrays[key] = (self._scalar(kind), at, end)
        return end

    def _scalar(self, kind: int) -> struct.Struct:
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise GgufError(f"metadata of type {kind} is not supported")
        return scalar

    def _string(self, at: int) -> str:
        return bytes(self._data[at + _LENGTH.size : self._string_end(at)]).decode("utf-8", "replace")

    def _string_end(self, at: int) -> int:
        end = at + _LENGTH.size + int(self._unpack(_LENGTH, at)[0])
        if end > len(self._data):
            raise GgufError("a string reaches past the end of the file")
        return end

    def _unpack(self, layout: struct.Struct, at: int) -> tuple[Any, ...]:
        if at + layout.size > len(self._data):
            raise GgufError("the file ends in the middle of its header")
        return layout.unpack_from(self._data, at)


def read_gguf_metadata(path: Path) -> GgufMetadata:
    """Raises GgufError, OSError. The file stays mapped as long as the result lives."""
    with path.open("rb") as file:
        if path.stat().st_size < _HEADER.size:
            raise GgufError("not a GGUF file")
        return GgufMetadata(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
