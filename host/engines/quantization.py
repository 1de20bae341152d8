"""Matching the CPU plugin's dynamic quantization to the groups in which a model's weights are quantized."""

from pathlib import Path
from typing import Any

from host.model_folder import language_xml
from host.weights_group import (
    PROPERTY,
    is_measured,
    matching_group,
    read_cpu_flags,
    read_weights_group,
)
from ipc.messages import Launch

AUTO = "auto"  # a value of ours for the property: match the weights on any CPU


def chosen_properties(launch: Launch[Any], folder: Path) -> dict[str, str]:
    """Properties for a model that its user leaves to us: the dynamic quantization group, or none."""
    asked = launch.properties.get(PROPERTY)
    if not launch.device.startswith("CPU") or asked not in (None, AUTO):
        return {}
    if asked is None and not is_measured(read_cpu_flags()):
        return {}
    group = matching_group(read_weights_group(language_xml(folder)))
    return {} if group is None else {PROPERTY: str(group)}


def given_properties(launch: Launch[Any]) -> dict[str, str]:
    """What the launch asks of OpenVINO: its properties, and on CPUs its number of threads."""
    asked = without_auto(launch.properties)
    if launch.threads and launch.device.startswith("CPU"):
        return {"INFERENCE_NUM_THREADS": str(launch.threads), **asked}
    return asked


def without_auto(properties: dict[str, str]) -> dict[str, str]:
    """The properties that OpenVINO knows."""
    return {name: value for name, value in properties.items() if (name, value) != (PROPERTY, AUTO)}
