"""Reads safetensors files: a JSON header with names, types, shapes and places, then the tensors' bytes.

The file is untrusted: each place is checked against the file's size, and each size against its shape.
"""

import math
import mmap
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from host.convert.errors import DOWNLOAD_AGAIN, ConversionError
from host.convert.foreign import FIRST_BYTES, describe_foreign

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 32 * 1024**2
_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
_BF16 = "BF16"  # the upper half of a float32, which numpy does not have

Size = Annotated[int, Meta(ge=0, le=2**48)]
Tensor = np.ndarray[Any, Any]


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: Annotated[list[Size], Meta(max_length=8)]
    data_offsets: tuple[Size, Size]


class Safetensors:
    """The tensors of one file by name. The file stays mapped as long as the object lives."""

    def __init__(self, data: "mmap.mmap | bytes") -> None:
        """Raises ConversionError."""
        header = _header(data)
        begin = _LENGTH_BYTES + len(header)
        self._tensors = memoryview(data)[begin:]
        try:
            entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
            entries.pop("__metadata__", None)
            self._entries = {name: msgspec.json.decode(raw, type=_Entry) for name, raw in entries.items()}
            self.names = frozenset(self._entries)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise ConversionError(
                f"the header of the safetensors file is damaged: {error}", DOWNLOAD_AGAIN
            ) from error
        end = max((entry.data_offsets[1] for entry in self._entries.values()), default=0)
        if end > len(self._tensors):
            whole = f"it has {len(data):,} of {begin + end:,} bytes"
            raise ConversionError(f"the safetensors file is incomplete: {whole}", DOWNLOAD_AGAIN)

    def get(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor of floats as float32, [*shape]. Raises ConversionError, also for one of another shape."""
        entry = self._entries.get(name)
        if entry is None:
            raise ConversionError(f"the tensor {name} is missing")
        if tuple(entry.shape) != shape:
            raise ConversionError(f"the tensor {name} has the shape {entry.shape}, not {list(shape)}")
        dtype = np.uint16 if entry.dtype == _BF16 else _DTYPES.get(entry.dtype)
        if dtype is None:
            raise ConversionError(f"the tensor {name} has the type {entry.dtype}, which is not supported")
        begin, end = entry.data_offsets
        if end > len(self._tensors) or end - begin != math.prod(shape) * np.dtype(dtype).itemsize:
            raise ConversionError(f"the tensor {name} does not fit its place in the file", DOWNLOAD_AGAIN)
        values = np.frombuffer(self._tensors[begin:end], dtype).reshape(shape)
        if entry.dtype == _BF16:
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)


def _foreign(beginning: bytes) -> ConversionError:
    return ConversionError(*describe_foreign(beginning, "a safetensors file"))


def _header(data: "mmap.mmap | bytes") -> bytes:
    length = int.from_bytes(data[:_LENGTH_BYTES], "little")
    if len(data) < _LENGTH_BYTES or length > min(_MAX_HEADER_BYTES, len(data) - _LENGTH_BYTES):
        raise _foreign(bytes(data[:FIRST_BYTES]))
    return data[_LENGTH_BYTES : _LENGTH_BYTES + length]


def read_safetensors(path: Path) -> Safetensors:
    """Raises ConversionError, OSError."""
    with path.open("rb") as file:
        if path.stat().st_size < _LENGTH_BYTES:
            raise _foreign(file.read(FIRST_BYTES))
        return Safetensors(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
