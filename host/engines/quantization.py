"""Matching the CPU plugin's dynamic quantization to the groups in which a model's weights are quantized.

The plugin quantizes activations at run time in groups of 32 values unless told otherwise. With weights in
larger groups it then rescales more often than they need, which costs 9 to 28 % of the tokens/s on a CPU with
AVX-512 VNNI. A group larger than the weights' own is slower by half.
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

from ipc.messages import Launch

PROPERTY = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
AUTO = "auto"  # a value of ours for the property: match the weights on any CPU
_SIZES = (128, 64)  # best first; larger groups lose accuracy, and 32 is the plugin's own
_COMPRESSED = {"u4", "i4", "u8", "i8"}
_UNCOMPRESSED = {"f16", "bf16", "f32"}
_MEASURED = "avx512_vnni"
_NOT_MEASURED = "amx_"  # flags of CPUs whose kernels are others


def chosen_properties(launch: Launch[Any], folder: Path) -> dict[str, str]:
    """Properties for a model that its user leaves to us: the dynamic quantization group, or none."""
    asked = launch.properties.get(PROPERTY)
    if not launch.device.startswith("CPU") or asked not in (None, AUTO):
        return {}
    if asked is None and not is_measured(cpu_flags(Path("/proc/cpuinfo"))):
        return {}
    group = matching_group(folder / "openvino_model.xml")
    return {} if group is None else {PROPERTY: str(group)}


def without_auto(properties: dict[str, str]) -> dict[str, str]:
    """The properties that OpenVINO knows."""
    return {name: value for name, value in properties.items() if (name, value) != (PROPERTY, AUTO)}


def is_measured(flags: Iterable[str]) -> bool:
    """Whether matching was seen to help on CPUs with these flags."""
    flags = set(flags)
    return _MEASURED in flags and not any(flag.startswith(_NOT_MEASURED) for flag in flags)


def cpu_flags(cpuinfo: Path) -> list[str]:
    """Of the first CPU in a file like /proc/cpuinfo; empty where it cannot be read."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
    return next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])


def matching_group(model_xml: Path) -> int | None:
    """The group size that suits most of an IR's weights; None for the plugin's default.

    A compressed weight is a constant of shape [out, groups, group], or [out, in] with one scale per output
    channel. Embeddings and output layers often differ from the rest. Raises OSError, ElementTree.ParseError.
    """
    elements: Counter[int | None] = Counter()
    for _, element in ElementTree.iterparse(model_xml):  # noqa: S314 - in the host, which is expendable
        if element.tag == "layer":
            if element.get("type") == "Const" and (data := element.find("data")) is not None:
                shape = _shape(data.get("shape", ""))
                if _is_weight(data.get("element_type", ""), shape):
                    elements[_suitable(data.get("element_type", ""), shape[-1])] += prod(shape)
            element.clear()
    return elements.most_common(1)[0][0] if elements else None


def _shape(text: str) -> list[int]:
    return [int(side) for side in text.split(",") if side.strip().isdecimal()]


def _is_weight(kind: str, shape: list[int]) -> bool:
    """Scales and zero points have a last side of 1."""
    if kind in _COMPRESSED:
        return len(shape) in (2, 3) and shape[-1] > 1
    return kind in _UNCOMPRESSED and len(shape) == 2 and shape[-1] > 1


def _suitable(kind: str, group: int) -> int | None:
    if kind in _UNCOMPRESSED:
        return None
    return next((size for size in _SIZES if group % size == 0), None)
