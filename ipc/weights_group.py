"""Finds the size of the groups in which an IR's weights are quantized."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

WeightsGroup = int | Literal["per channel"] | None

PER_CHANNEL: Literal["per channel"] = "per channel"
_COMPRESSED = {"u4", "i4", "u8", "i8"}
_DECOMPRESSION = {"Convert", "Subtract", "Multiply", "Reshape", "Transpose"}
_PRODUCT = "MatMul"
_KINDS = {"Const", _PRODUCT, *_DECOMPRESSION}
_SHARE = 0.1  # of the weights; the output layer and a few others are often compressed differently
_MAX_LAYERS = 1_000_000


class _Layer(msgspec.Struct):
    kind: str
    group: WeightsGroup = None  # of a constant of compressed weights
    elements: int = 0


class WeightsGraph:
    """The constants, decompression steps and products of an IR, and the edges between them.

    The caller leaves out the bodies of loops. Layers beyond a million are ignored.
    """

    def __init__(self) -> None:
        self._layers: dict[str, _Layer] = {}
        self._followers: dict[str, list[str]] = {}

    def add_layer(self, number: str, kind: str) -> None:
        if kind in _KINDS and len(self._layers) < _MAX_LAYERS:
            self._layers[number] = _Layer(kind)

    def describe_constant(self, number: str, element_type: str, shape: Sequence[int], elements: int) -> None:
        """Weights are [outputs, groups, group] or, per channel, [outputs, inputs]. Zero points end with 1."""
        layer = self._layers.get(number)
        if layer and element_type in _COMPRESSED and len(shape) >= 2 and shape[-1] > 1:
            layer.group = shape[-1] if len(shape) > 2 else PER_CHANNEL
            layer.elements = elements

    def add_edge(self, attributes: Mapping[str, str]) -> None:
        source, target = attributes.get("from-layer"), attributes.get("to-layer")
        if source in self._layers and target in self._layers:  # edges follow after all layers
            self._followers.setdefault(source, []).append(target)

    def group(self) -> WeightsGroup:
        """The group size of the compressed weights that matrix products use.

        If they differ, the smallest that a tenth of all elements have, because too large a group costs more
        than too small a one. None if no weights are compressed.
        """
        elements: Counter[int | Literal["per channel"]] = Counter()
        for number, layer in self._layers.items():
            if layer.group is not None and self._reaches_product(number):
                elements[layer.group] += layer.elements
        common = [group for group, count in elements.items() if count >= elements.total() * _SHARE]
        sizes = [group for group in common if group != PER_CHANNEL]
        return min(sizes) if sizes else PER_CHANNEL if common else None

    def _reaches_product(self, number: str) -> bool:
        """Whether nothing but decompression lies between a constant and a matrix product."""
        pending, seen = [number], {number}
        while pending:
            for follower in self._followers.get(pending.pop(), []):
                if follower in seen:
                    continue
                if self._layers[follower].kind == _PRODUCT:
                    return True
                seen.add(follower)
                pending.append(follower)
        return False
