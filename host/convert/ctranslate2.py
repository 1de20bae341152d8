"""Reads the variables of a CTranslate2 model, the file model.bin.

The file begins with the version of the format, the name and revision of the model's specification, and the
number of variables. Each variable consists of its name, its shape, the type and number of its bytes, and
those bytes. Aliases follow, which are not needed. All numbers are little-endian. The file is untrusted:
nothing outside of it is read.
"""

import math
import mmap
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from host.convert.errors import DOWNLOAD_AGAIN, ConversionError
from host.convert.foreign import FIRST_BYTES, describe_foreign
from host.convert.safetensors import Tensor

WEIGHTS = "model.bin"
_VERSIONS = (5, 6)  # of the format, which has had this layout since the first of them
_MAX_VARIABLES = 20_000
_MAX_NAME_BYTES = 256
_MAX_RANK = 4
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_FLOATS = (np.float32, np.float16)
_KIND = "a CTranslate2 model"


class _Place(NamedTuple):
    dtype: Any
    shape: tuple[int, ...]
    begin: int
    end: int


class CTranslate2Model:
    """The variables of one file by name. The file stays mapped as long as the object lives."""

    def __init__(self, data: "mmap.mmap | bytes") -> None:
        """Raises ConversionError."""
        self._data = data
        self._at = 0
        version = self._number("I") if len(data) >= struct.calcsize("<I") else 0
        if version not in _VERSIONS:
            raise _foreign(data, version)
        self.specification = self._text()
        self._number("I")  # its revision
        count = self._number("I")
        if not 1 <= count <= _MAX_VARIABLES:
            raise _damaged(f"a count of {count} variables")
        self._places: dict[str, _Place] = {}
        for _ in range(count):
            name, place = self._variable()
            if name in self._places:
                raise _damaged(f"there are two variables {name}")
            self._places[name] = place

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """Raises ConversionError."""
        return self._place(name).shape

    def get(self, name: str) -> Tensor:
        """A variable of floats as float32. Raises ConversionError."""
        place = self._place(name)
        if place.dtype not in _FLOATS:
            kind = np.dtype(place.dtype).name
            raise ConversionError(
                f"{WEIGHTS}: weights of the type {kind} are not supported",
                "convert the original with: ct2-transformers-converter --quantization float16",
            )
        values = np.frombuffer(memoryview(self._data)[place.begin : place.end], place.dtype)
        return values.reshape(place.shape).astype(np.float32)

    def whole(self, name: str) -> int:
        """A variable that is one whole number. Raises ConversionError."""
        place = self._place(name)
        if place.shape or place.dtype in _FLOATS:
            raise _damaged(f"{name} is no whole number")
        return int(np.frombuffer(self._data[place.begin : place.end], place.dtype)[0])

    def _place(self, name: str) -> _Place:
        if name not in self._places:
            raise ConversionError(f"{WEIGHTS}: the variable {name} is missing", DOWNLOAD_AGAIN)
        return self._places[name]

    def _variable(self) -> tuple[str, _Place]:
        name = self._text()
        rank = self._number("B")
        if rank > _MAX_RANK:
            raise _damaged(f"{name} has {rank} dimensions")
        shape = tuple(self._number("I") for _ in range(rank))
        kind, size = self._number("B"), self._number("I")
        if kind not in _DTYPES:
            raise ConversionError(f"{WEIGHTS}: {name} has a type ({kind}) that is not supported")
        dtype = np.dtype(_DTYPES[kind])
        if size != math.prod(shape) * dtype.itemsize:
            raise _damaged(f"{name} has {size:,} bytes, which do not fit its shape {list(shape)}")
        self._check_room(size)
        self._at += size
        return name, _Place(_DTYPES[kind], shape, self._at - size, self._at)

    def _text(self) -> str:
        size = self._number("H")  # with the zero at its end
        if not 1 <= size <= _MAX_NAME_BYTES:
            raise _damaged(f"a name of {size} bytes")
        self._check_room(size)
        self._at += size
        return self._data[self._at - size : self._at - 1].decode(errors="replace")

    def _number(self, layout: str) -> int:
        size = struct.calcsize(f"<{layout}")
        self._check_room(size)
        self._at += size
        return int(struct.unpack_from(f"<{layout}", self._data, self._at - size)[0])

    def _check_room(self, size: int) -> None:
        if self._at + size > len(self._data):
            whole = f"it has {len(self._data):,} of at least {self._at + size:,} bytes"
            raise ConversionError(f"{WEIGHTS} is incomplete: {whole}", DOWNLOAD_AGAIN)


def read_ctranslate2(path: Path) -> CTranslate2Model:
    """Raises ConversionError, OSError."""
    with path.open("rb") as file:
        empty = path.stat().st_size == 0
        return CTranslate2Model(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _damaged(cause: str) -> ConversionError:
    return ConversionError(f"{WEIGHTS} is damaged: {cause}", DOWNLOAD_AGAIN)


def _foreign(data: "mmap.mmap | bytes", version: int) -> ConversionError:
    if 0 < version < min(_VERSIONS):
        return ConversionError(
            f"{WEIGHTS}: version {version} of CTranslate2's format is not supported",
            "convert the original again",
        )
    found = describe_foreign(bytes(data[:FIRST_BYTES]), _KIND)
    return ConversionError(f"{WEIGHTS} is {found.cause}", found.remedy)
