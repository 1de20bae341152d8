"""The list of tensors in a GGUF file. Each place is checked against the file's size."""

import math
import struct
from typing import NamedTuple

from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from host.convert.errors import DOWNLOAD_AGAIN
from host.convert.gguf import GgufError, GgufMetadata, damaged

_ALIGNMENT = 32  # unless the metadata set another
_ALIGNMENT_KEY = "general.alignment"
_MAX_ALIGNMENT = 1024**2
_MAX_NAME_BYTES = 63  # of the format
_MAX_DIMENSIONS = 4
_MAX_SIZE = 2**40  # of one dimension
_NAME_LENGTH = struct.Struct("<Q")
_DIMENSIONS = struct.Struct("<I")
_PLACE = struct.Struct("<IQ")  # type, offset from the beginning of the data


class GgufTensor(NamedTuple):
    """One tensor: `rows` of `width` numbers, quantized along the row."""

    name: str
    shape: tuple[int, ...]  # as numpy has it: the row's width is last
    kind: GGMLQuantizationType
    offset: int  # in the file
    size: int  # bytes

    @property
    def width(self) -> int:
        return self.shape[-1]

    @property
    def rows(self) -> int:
        return math.prod(self.shape[:-1])

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)


def aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def size_of(kind: GGMLQuantizationType, numbers: int) -> int:
    """In bytes, of whole blocks."""
    block, block_bytes = GGML_QUANT_SIZES[kind]
    return numbers // block * block_bytes


def read_tensors(metadata: GgufMetadata) -> dict[str, GgufTensor]:
    """Name → tensor. Raises GgufError, also where the file ends before its last tensor."""
    at = metadata.end
    found: dict[str, GgufTensor] = {}
    for _ in range(metadata.tensor_count):
        tensor, at = _read_tensor(metadata, at)
        if tensor.name in found:
            raise damaged(f"the tensor {tensor.name} appears twice")
        found[tensor.name] = tensor
    alignment = read_alignment(metadata)
    data = aligned(at, alignment)
    tensors = {name: tensor._replace(offset=data + tensor.offset) for name, tensor in found.items()}
    _check_places(list(tensors.values()), alignment, len(metadata.data))
    return tensors


def read_alignment(metadata: GgufMetadata) -> int:
    """Of the tensors. Raises GgufError."""
    if _ALIGNMENT_KEY not in metadata.types:
        return _ALIGNMENT
    alignment = metadata.integer(_ALIGNMENT_KEY)
    if alignment is None or not 1 <= alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise damaged(f"{_ALIGNMENT_KEY} is no power of two")
    return alignment


def _read_tensor(metadata: GgufMetadata, at: int) -> tuple[GgufTensor, int]:
    """A tensor, whose offset counts from the beginning of the data, and where the next one is listed."""
    if metadata.unpack(_NAME_LENGTH, at)[0] > _MAX_NAME_BYTES:
        raise damaged("the name of a tensor is too long")
    name, at = metadata.string(at), metadata.string_end(at)
    (dimensions,) = metadata.unpack(_DIMENSIONS, at)
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise damaged(f"the tensor {name} has {dimensions} dimensions")
    sizes = struct.Struct(f"<{dimensions}Q")
    shape = metadata.unpack(sizes, at + _DIMENSIONS.size)[::-1]
    at += _DIMENSIONS.size + sizes.size
    number, offset = metadata.unpack(_PLACE, at)
    if not all(1 <= size <= _MAX_SIZE for size in shape):
        raise damaged(f"the tensor {name} has the shape {list(shape)}")
    return GgufTensor(name, shape, *_kind_and_place(name, shape, number, offset)), at + _PLACE.size


def _kind_and_place(
    name: str, shape: tuple[int, ...], number: int, offset: int
) -> tuple[GGMLQuantizationType, int, int]:
    try:
        kind = GGMLQuantizationType(number)
    except ValueError:
        raise GgufError(
            f"the tensor {name} has the unknown type {number}", "get the model in another quantization"
        ) from None
    if shape[-1] % GGML_QUANT_SIZES[kind][0]:
        raise damaged(f"the tensor {name} has rows of {shape[-1]} numbers, which {kind.name} cannot hold")
    return kind, offset, size_of(kind, math.prod(shape))


def _check_places(tensors: list[GgufTensor], alignment: int, file_size: int) -> None:
    end = max((tensor.offset + tensor.size for tensor in tensors), default=0)
    if end > file_size:
        raise GgufError(f"the file is incomplete: it has {file_size:,} of {end:,} bytes", DOWNLOAD_AGAIN)
    place = 0
    for tensor in sorted(tensors, key=lambda tensor: tensor.offset):
        if tensor.offset % alignment or tensor.offset < place:
            raise damaged(f"the tensor {tensor.name} overlaps another or is not aligned")
        place = tensor.offset + tensor.size
