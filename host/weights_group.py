"""Finds the group size of an IR's compressed weights, and the one that dynamic quantization should use.

The engine quantizes activations in groups when it multiplies. On CPUs with AVX-512 VNNI, groups as large as
those of the weights, up to 128, serve int8 and int4 models up to 1.5 times as fast as the default of 32.
Groups larger than the weights' halve the speed.
"""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Literal
from xml.parsers import expat

import msgspec

PROPERTY = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
WeightsGroup = int | Literal["per channel"] | None

_PER_CHANNEL: Literal["per channel"] = "per channel"
_COMPRESSED = {"u4", "i4", "u8", "i8"}
_DECOMPRESSION = {"Convert", "Subtract", "Multiply", "Reshape", "Transpose"}
_PRODUCT = "MatMul"
_LARGEST_GROUP = 128
_SHARE = 0.1  # of the weights; the output layer and a few others are often compressed differently
_MEASURED = {"avx512f", "avx512_vnni"}  # CPU flags as Linux names them
_NOT_MEASURED = "amx_tile"
_CHUNK_BYTES = 64 * 1024
_MAX_LAYERS = 1_000_000


def is_measured(cpu_flags: Collection[str]) -> bool:
    """Whether matching the weights was seen to help on CPUs with these flags."""
    return set(cpu_flags) >= _MEASURED and _NOT_MEASURED not in cpu_flags


def matching_group(weights_group: WeightsGroup) -> int | None:
    """The group size to set for such weights, or None to leave the engine's default."""
    if weights_group is None:
        return None
    return _LARGEST_GROUP if weights_group == _PER_CHANNEL else min(weights_group, _LARGEST_GROUP)


def read_cpu_flags(path: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The flags of the first CPU; empty if the system does not list them."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return frozenset()
    return frozenset(flags.partition(":")[2].split())


def read_weights_group(xml: Path) -> WeightsGroup:
    """The group size of the compressed weights that matrix products use.

    If they differ, the smallest that a tenth of all elements have, because too large a group costs more than
    too small a one. None if no weights are compressed, or if the XML cannot be read.
    """
    graph = _Graph()
    parser = expat.ParserCreate()
    parser.StartElementHandler = graph.on_start
    parser.EndElementHandler = graph.on_end
    parser.StartDoctypeDeclHandler = graph.on_doctype
    try:
        with xml.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                parser.Parse(chunk)
            parser.Parse(b"", True)
    except (OSError, expat.ExpatError, ValueError, KeyError):
        return None
    return graph.group()


class _Layer(msgspec.Struct):
    kind: str
    group: WeightsGroup = None  # of a constant of compressed weights
    elements: int = 0


class _Graph:
    """The constants, decompression steps and products of an IR, and the edges between them."""

    def __init__(self) -> None:
        self._layers: dict[str, _Layer] = {}
        self._followers: dict[str, list[str]] = {}
        self._current: _Layer | None = None  # the constant whose description is being read
        self._depth = 0  # net, layers, layer, data; what is deeper belongs to the bodies of loops

    def on_doctype(self, *_: object) -> None:
        raise ValueError("an IR has no document type")

    def on_end(self, _: str) -> None:
        self._depth -= 1

    def on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if name == "layer" and self._depth == 3:
            self._on_layer(attributes["id"], attributes.get("type", ""))
        elif name == "data" and self._depth == 4 and self._current is not None:
            self._describe(self._current, attributes)
            self._current = None
        elif name == "edge" and self._depth == 3:
            source = attributes["from-layer"]
            if source in self._layers:
                self._followers.setdefault(source, []).append(attributes["to-layer"])

    def _on_layer(self, number: str, kind: str) -> None:
        self._current = None
        if kind == "Const" or kind == _PRODUCT or kind in _DECOMPRESSION:
            if len(self._layers) >= _MAX_LAYERS:
                raise ValueError("too many layers")
            self._layers[number] = layer = _Layer(kind)
            self._current = layer if kind == "Const" else None

    def _describe(self, layer: _Layer, attributes: dict[str, str]) -> None:
        """Weights are [outputs, groups, group] or, per channel, [outputs, inputs]. Zero points end with 1."""
        shape = [int(size) for size in attributes.get("shape", "").split(",") if size.strip()]
        if attributes.get("element_type") in _COMPRESSED and len(shape) >= 2 and shape[-1] > 1:
            layer.group = shape[-1] if len(shape) > 2 else _PER_CHANNEL
            for size in shape:
                layer.elements = size * (layer.elements or 1)

    def group(self) -> WeightsGroup:
        elements: Counter[int | Literal["per channel"]] = Counter()
        for number, layer in self._layers.items():
            if layer.group is not None and self._reaches_product(number):
                elements[layer.group] += layer.elements
        common = [group for group, count in elements.items() if count >= elements.total() * _SHARE]
        sizes = [group for group in common if group != _PER_CHANNEL]
        return min(sizes) if sizes else _PER_CHANNEL if common else None

    def _reaches_product(self, number: str) -> bool:
        """Whether nothing but decompression lies between a constant and a matrix product."""
        pending, seen = [number], {number}
        while pending:
            for follower in self._followers.get(pending.pop(), []):
                layer = self._layers.get(follower)
                if layer is None or follower in seen:
                    continue
                if layer.kind == _PRODUCT:
                    return True
                seen.add(follower)
                pending.append(follower)
        return False
