"""The binary parts of packed e5 weights: numbers of the header, and the directory of tensors.

A tensor consists of float32 numbers, or of blocks of 32 weights: a float16 scale and 16 bytes, whose lower
halves are the first 16 weights plus 8. All numbers are little-endian.
"""

import math
import mmap
import struct
from typing import Any

import numpy as np

from host.convert.errors import DOWNLOAD_AGAIN, ConversionError
from host.convert.safetensors import Tensor

BLOCK_WEIGHTS = 32
_BLOCK_BYTES = 18
_FLOAT32, _PACKED = 0, 1  # types of tensors
_MAX_COUNT = 2**20  # of pieces, replacements, tensors
_NAMES = {
    "embeddings.word_embeddings.weight": "emb.word",
    "embeddings.position_embeddings.weight": "emb.pos",
    "embeddings.token_type_embeddings.weight": "emb.type",
    "embeddings.LayerNorm.weight": "emb.ln.w",
    "embeddings.LayerNorm.bias": "emb.ln.b",
}
_LAYER_NAMES = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
}


class Reader:
    """Reads numbers and bytes one after the other. Raises ConversionError at the end of the file."""

    def __init__(self, data: "mmap.mmap | bytes") -> None:
        self.data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self._at:
            raise ConversionError("the file ends in the middle of its header", DOWNLOAD_AGAIN)
        self._at += size
        return self.data[self._at - size : self._at]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def count(self) -> int:
        (number,) = self.unpack("i")
        if not 0 <= number <= _MAX_COUNT:
            raise ConversionError(f"the header is damaged: a count of {number}", DOWNLOAD_AGAIN)
        return int(number)


class Tensors:
    """The tensors of the file."""

    def __init__(self, reader: Reader) -> None:
        self._data = reader.data
        self._places: dict[str, tuple[int, int]] = {}  # name → type and offset in the file
        for _ in range(reader.count()):
            name = reader.take(reader.unpack("H")[0]).decode(errors="replace")
            kind, _, offset, _ = reader.unpack("BIQQ")
            self._places[name] = (kind, offset)

    def get(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor by its name in a Hugging Face folder, float32 [*shape]. Raises ConversionError."""
        kind, offset = self._places.get(_packed_name(name), (None, 0))
        size = math.prod(shape)
        if kind == _FLOAT32:
            return np.frombuffer(self._bytes(offset, size * 4), np.float32).reshape(shape)
        if kind != _PACKED or shape[-1] % BLOCK_WEIGHTS:
            raise ConversionError(
                f"the tensor {name} is missing, or not of the shape {list(shape)}", DOWNLOAD_AGAIN
            )
        content = self._bytes(offset, size // BLOCK_WEIGHTS * _BLOCK_BYTES)
        blocks = np.frombuffer(content, np.uint8).reshape(-1, _BLOCK_BYTES)
        scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        if not np.isfinite(scales).all():
            raise ConversionError(f"the tensor {name} is damaged", DOWNLOAD_AGAIN)
        halves = [blocks[:, 2:] & 15, blocks[:, 2:] >> 4]
        return ((np.concatenate(halves, axis=1).astype(np.float32) - 8) * scales).reshape(shape)

    def _bytes(self, offset: int, size: int) -> memoryview:
        if offset + size > len(self._data):
            whole = f"it has {len(self._data):,} of at least {offset + size:,} bytes"
            raise ConversionError(f"the file is incomplete: {whole}", DOWNLOAD_AGAIN)
        return memoryview(self._data)[offset : offset + size]


def _packed_name(name: str) -> str:
    """encoder.layer.0.output.dense.bias → l0.fo.b"""
    if not name.startswith("encoder.layer."):
        return _NAMES.get(name, name)
    number, _, rest = name.removeprefix("encoder.layer.").partition(".")
    part, _, kind = rest.rpartition(".")
    return f"l{number}.{_LAYER_NAMES.get(part, part)}.{kind[0]}"
