"""Reads the header of a safetensors file: JSON with the names, types, shapes and places of tensors.

The tensors' bytes follow the header. The file is untrusted: no place is outside of it.
"""

import mmap
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from host.convert.errors import DOWNLOAD_AGAIN
from host.convert.foreign import FIRST_BYTES, describe_foreign

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit

Data = mmap.mmap | bytes
Size = Annotated[int, Meta(ge=0, le=2**48)]


class SafetensorsError(Exception):
    """The file is damaged, or something else. The text does not name it; `remedy` says what to do."""

    def __init__(self, cause: str, remedy: str = DOWNLOAD_AGAIN) -> None:
        super().__init__(f"{cause}; {remedy}")
        self.cause, self.remedy = cause, remedy


class Entry(msgspec.Struct, frozen=True):
    """A tensor. Its offsets count from the end of the header; the second may lie before the first."""

    dtype: str
    shape: Annotated[list[Size], Meta(max_length=8)]
    data_offsets: tuple[Size, Size]


class Header(msgspec.Struct, frozen=True):
    entries: dict[str, Entry]
    end: int  # the position in the file at which the tensors begin


def map_file(path: Path) -> Data:
    """The content of a file, mapped. Raises OSError, and SafetensorsError for a file without a header."""
    with path.open("rb") as file:
        if path.stat().st_size < _LENGTH_BYTES:
            raise _foreign(file.read(FIRST_BYTES))
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def read_header(data: Data) -> Header:
    """Raises SafetensorsError."""
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    end = _LENGTH_BYTES + length
    if length > _MAX_HEADER_BYTES or end > len(data):
        raise _foreign(bytes(data[:FIRST_BYTES]))
    try:
        found = msgspec.json.decode(data[_LENGTH_BYTES:end], type=dict[str, msgspec.Raw])
        found.pop("__metadata__", None)
        entries = {name: msgspec.json.decode(raw, type=Entry) for name, raw in found.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise SafetensorsError(f"the header of the safetensors file is damaged: {error}") from error
    whole = end + max((max(entry.data_offsets) for entry in entries.values()), default=0)
    if whole > len(data):
        has = f"it has {len(data):,} of {whole:,} bytes"
        raise SafetensorsError(f"the safetensors file is incomplete: {has}")
    return Header(entries, end)


def _foreign(beginning: bytes) -> SafetensorsError:
    return SafetensorsError(*describe_foreign(beginning, "a safetensors file"))
