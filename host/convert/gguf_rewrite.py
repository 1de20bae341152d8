"""Rewrites GGUF files that hold what the engine cannot read, in bounded memory.

The engine reads weights as F16, Q4_0, Q4_1, Q8_0, Q4_K and Q6_K. All other types that the package `gguf` can
expand become Q8_0, or F16 if they are floats.
"""

import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType as Kind

from host.convert.errors import EXPORT, ConversionError
from host.convert.gguf import GgufMetadata, damaged
from host.convert.gguf_check import CheckedGguf
from host.convert.gguf_tensors import GgufTensor, aligned, read_alignment, size_of

_QUANTIZED = {Kind.Q4_0, Kind.Q4_1, Kind.Q8_0, Kind.Q4_K, Kind.Q6_K}
_FLOATS = {Kind.F64, Kind.F32, Kind.F16, Kind.BF16}
_WHOLE_NUMBERS = {Kind.I8, Kind.I16, Kind.I32, Kind.I64}
_FILE_TYPE, _FILE_TYPE_KEY = struct.Struct("<I"), b"general.file_type"
_UNQUANTIZED_TYPES = (0, 1)  # of files: without scales, to the engine
_MOSTLY_F16, _MOSTLY_Q8_0 = 1, 7
_UINT32, _INT32 = 4, 5
_IR_BITS = {  # for each weight, with its share of scale and zero point
    Kind.Q4_0: 4 + 20 / 32,
    Kind.Q4_1: 4 + 20 / 32,
    Kind.Q4_K: 4 + 20 / 32,
    Kind.Q8_0: 8 + 24 / 32,
    Kind.Q6_K: 8 + 24 / 16,
}
_TOKENIZER_BYTES = 16 * 1024**2
_CHUNK = 2**21  # numbers that are converted at once, by each thread
_MAX_THREADS = 8
_LARGEST_F16 = 65504.0


class Plan(NamedTuple):
    """What must change in a file before the engine reads it."""

    kinds: dict[str, Kind]  # of all tensors: what they will be
    changed: list[GgufTensor]
    file_type: int | None  # None: it stays

    @property
    def needed(self) -> bool:
        return bool(self.changed) or self.file_type is not None

    @property
    def note(self) -> str:
        """One line for the user; empty if no weights change."""
        if not self.changed:
            return ""
        counts = Counter((tensor.kind.name, self.kinds[tensor.name].name) for tensor in self.changed)
        listed = [f"{count} {old} {_plural(count)} to {new}" for (old, new), count in sorted(counts.items())]
        return f"Converted {', '.join(listed)}, because the engine does not read them."


def _plural(count: int) -> str:
    return "tensor" if count == 1 else "tensors"


def plan_rewrite(checked: CheckedGguf) -> Plan:
    """Raises ConversionError for tensors that cannot be converted."""
    tensors = checked.tensors.values()
    kinds = {tensor.name: _target(tensor) for tensor in tensors}
    changed = [tensor for tensor in tensors if kinds[tensor.name] is not tensor.kind]
    return Plan(kinds, changed, _file_type(checked.metadata, kinds.values()))


def _target(tensor: GgufTensor) -> Kind:
    if tensor.kind in _WHOLE_NUMBERS:
        raise damaged(f"the tensor {tensor.name} holds whole numbers")
    if len(tensor.shape) == 1:  # norms and biases
        return Kind.F32  # the engine reads no others
    if tensor.kind in _QUANTIZED:
        return tensor.kind
    return Kind.F16 if tensor.kind in _FLOATS else Kind.Q8_0


def _file_type(metadata: GgufMetadata, kinds: Iterable[Kind]) -> int | None:
    """Which value the engine needs in place of the file's own: it ignores scales where that says F16."""
    key = _FILE_TYPE_KEY.decode()
    present = metadata.integer(key)
    if key in metadata.types and (present is None or metadata.types[key] not in (_UINT32, _INT32)):
        raise damaged(f"{key} is no valid number")
    quantized = any(kind in _QUANTIZED for kind in kinds)
    if present is None:
        return _MOSTLY_Q8_0 if quantized else _MOSTLY_F16
    return _MOSTLY_Q8_0 if quantized and present in _UNQUANTIZED_TYPES else None


def rewritten_size(checked: CheckedGguf, plan: Plan) -> int:
    """Of the file, in bytes, but for padding."""
    tensors = checked.tensors.items()
    return checked.metadata.end + sum(size_of(plan.kinds[name], tensor.numbers) for name, tensor in tensors)


def ir_size(checked: CheckedGguf, plan: Plan) -> int:
    """About how many bytes the IR will take: scales have 16 bits, zero points as many as the weights."""
    bits = sum(
        _IR_BITS.get(plan.kinds[name], 16) * tensor.numbers for name, tensor in checked.tensors.items()
    )
    return int(bits) // 8 + _TOKENIZER_BYTES


def rewrite(checked: CheckedGguf, plan: Plan, path: Path) -> None:
    """Write the file with the planned types. Raises ConversionError, OSError."""
    alignment = read_alignment(checked.metadata)
    with path.open("wb") as file, ThreadPoolExecutor(_threads()) as pool:
        _write_header(checked, plan, alignment, file)
        for tensor in checked.tensors.values():
            for chunk in _converted(checked.metadata, tensor, plan.kinds[tensor.name], pool):
                file.write(chunk)
            _pad(file, alignment)


def _pad(file: BinaryIO, alignment: int) -> None:
    file.write(bytes(aligned(file.tell(), alignment) - file.tell()))


def _threads() -> int:
    return min(_MAX_THREADS, len(os.sched_getaffinity(0)))


def _write_header(checked: CheckedGguf, plan: Plan, alignment: int, file: BinaryIO) -> None:
    metadata = checked.metadata
    entries = bytearray(metadata.data[metadata.begin : metadata.end])
    added = 0
    if plan.file_type is not None:
        added = _set_file_type(metadata, entries, plan.file_type)
    file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(checked.tensors), metadata.entry_count + added))
    file.write(entries)
    offset = 0
    for tensor in checked.tensors.values():
        kind = plan.kinds[tensor.name]
        name, shape = tensor.name.encode(), tensor.shape[::-1]
        file.write(struct.pack("<Q", len(name)) + name + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
        file.write(struct.pack("<IQ", kind, offset))
        offset = aligned(offset + size_of(kind, tensor.numbers), alignment)
    _pad(file, alignment)


def _set_file_type(metadata: GgufMetadata, entries: bytearray, value: int) -> int:
    """Returns how many entries were added."""
    place = metadata.places.get(_FILE_TYPE_KEY.decode())
    if place is not None:
        _FILE_TYPE.pack_into(entries, place - metadata.begin, value)
        return 0
    entries += struct.pack("<Q", len(_FILE_TYPE_KEY)) + _FILE_TYPE_KEY + struct.pack("<II", _UINT32, value)
    return 1


def _converted(
    metadata: GgufMetadata, tensor: GgufTensor, kind: Kind, pool: ThreadPoolExecutor
) -> Iterator[bytes | memoryview]:
    """The content of a tensor, as `kind`, in pieces."""
    content = memoryview(metadata.data)[tensor.offset : tensor.offset + tensor.size]
    rows = max(1, _CHUNK // tensor.width)
    step = rows * size_of(tensor.kind, tensor.width)
    pieces = (content[begin : begin + step] for begin in range(0, tensor.size, step))
    if kind is tensor.kind:
        yield from pieces
        return
    while batch := list(islice(pieces, _threads())):  # pool.map alone would read ahead without a limit
        yield from pool.map(lambda piece: _requantize(piece, tensor, kind), batch)


def _requantize(content: memoryview, tensor: GgufTensor, kind: Kind) -> bytes:
    """Whole rows. Raises ConversionError."""
    raw = np.frombuffer(content, np.uint8).reshape(-1, size_of(tensor.kind, tensor.width))
    try:
        numbers = (
            raw.view(np.float64) if tensor.kind is Kind.F64 else gguf.quants.dequantize(raw, tensor.kind)
        )
    except NotImplementedError:
        raise ConversionError(
            f"the tensor {tensor.name} has the type {tensor.kind.name}, which is not supported", EXPORT
        ) from None
    if not np.isfinite(numbers).all():
        raise damaged(f"the tensor {tensor.name} holds numbers that are not finite")
    if kind is Kind.F16:
        numbers = np.clip(numbers, -_LARGEST_F16, _LARGEST_F16)
    converted = gguf.quants.quantize(numbers.astype(np.float32, copy=False), kind)
    return converted.tobytes()
