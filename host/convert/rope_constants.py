"""Replaces the rotary frequencies in an IR, in place: weights of many gigabytes are not written again."""

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from host.convert.errors import EXPORT, ConversionError
from host.convert.gguf_rope import Rotation

_TYPES: dict[str | None, str] = {"f16": "<f2", "f32": "<f4"}
_ALIGNMENT = 64
_ROUNDING, _SMALLEST = 2**-10, 2**-23  # of 16 bits


def save_rotation(xml: Path, rotation: Rotation) -> None:
    """Make the constants that hold `rotation.plain` hold `rotation.right`, in 32 bits.

    Raises ConversionError if there are none, OSError.
    """
    tree = ElementTree.parse(xml)  # noqa: S314 - the engine wrote it
    root = tree.getroot()
    weights = xml.with_suffix(".bin")
    found = [layer for layer in root.iterfind("layers/layer") if _holds(layer, rotation.plain, weights)]
    if not found:
        raise ConversionError("OpenVINO wrote no rotary frequencies", EXPORT)
    content = rotation.right.astype("<f4").tobytes()
    offset = _append(weights, content)
    for layer in found:
        for data in layer.iterfind("data"):
            data.attrib.update(element_type="f32", offset=str(offset), size=str(len(content)))
        for port in layer.iterfind("output/port"):
            port.set("precision", "FP32")
        _bypass_conversion(root, layer.attrib["id"])
    tree.write(xml, encoding="utf-8", xml_declaration=True)


def _holds(layer: ElementTree.Element, numbers: np.ndarray, weights: Path) -> bool:
    data = layer.find("data")
    if layer.get("type") != "Const" or data is None or data.get("element_type") not in _TYPES:
        return False
    shape = [int(size) for size in data.get("shape", "").split(",") if size.strip()]
    if max(shape, default=0) != len(numbers) or math.prod(shape) != len(numbers):
        return False
    kind = np.dtype(_TYPES[data.get("element_type")])
    found = np.fromfile(weights, kind, len(numbers), offset=int(data.attrib["offset"]))
    return len(found) == len(numbers) and np.allclose(found, numbers, rtol=_ROUNDING, atol=_SMALLEST)


def _append(weights: Path, content: bytes) -> int:
    """Returns its offset."""
    with weights.open("ab") as file:
        file.write(bytes(-file.tell() % _ALIGNMENT))
        offset = file.tell()
        file.write(content)
    return offset


def _bypass_conversion(root: ElementTree.Element, constant: str) -> None:
    """Remove the conversion from 16 bits, if there is one."""
    layers, edges = next(root.iterfind("layers")), next(root.iterfind("edges"))
    conversions = {layer.attrib["id"]: layer for layer in layers if layer.get("type") == "Convert"}
    for edge in edges.findall(f"edge[@from-layer='{constant}']"):
        conversion = edge.attrib["to-layer"]
        if conversion not in conversions:
            continue
        layers.remove(conversions[conversion])
        edges.remove(edge)
        for consumer in edges.iterfind(f"edge[@from-layer='{conversion}']"):
            consumer.attrib.update({"from-layer": constant, "from-port": "0"})
