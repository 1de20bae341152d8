"""Reads the tensors of a safetensors file as float32. Sizes are checked against shapes."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from host.convert.errors import DOWNLOAD_AGAIN, ConversionError
from host.safetensors import Data, SafetensorsError, map_file, read_header

_DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
_BF16 = "BF16"  # the upper half of a float32, which numpy does not have

Tensor = np.ndarray[Any, Any]


class Safetensors:
    """The tensors of one file by name. The file stays mapped as long as the object lives."""

    def __init__(self, data: Data) -> None:
        """Raises ConversionError."""
        try:
            header = read_header(data)
        except SafetensorsError as error:
            raise ConversionError(error.cause, error.remedy) from error
        self._entries = header.entries
        self._tensors = memoryview(data)[header.end :]
        self.names = frozenset(self._entries)

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
        if end - begin != math.prod(shape) * np.dtype(dtype).itemsize:
            raise ConversionError(f"the tensor {name} does not fit its place in the file", DOWNLOAD_AGAIN)
        values = np.frombuffer(self._tensors[begin:end], dtype).reshape(shape)
        if entry.dtype == _BF16:
            return (values.astype(np.uint32) << 16).view(np.float32)
        return values.astype(np.float32)


def read_safetensors(path: Path) -> Safetensors:
    """Raises ConversionError, OSError."""
    try:
        return Safetensors(map_file(path))
    except SafetensorsError as error:
        raise ConversionError(error.cause, error.remedy) from error
