"""A configuration: the value of each setting that tuning may change. Pure."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from frontend.config import ModelSettings

Goal = Literal["mixed", "latency", "throughput", "prefill"]
Value = str | int | bool | None  # None: left to the engine
Configuration = Mapping[str, Value]  # OpenVINO property, or name of a model setting → value

THREADS = "INFERENCE_NUM_THREADS"
GROUP = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
PRECISION = "INFERENCE_PRECISION_HINT"
KV_PRECISION = "KV_CACHE_PRECISION"
PINNING = "ENABLE_CPU_PINNING"
CORES = "SCHEDULING_CORE_TYPE"
HYPER_THREADING = "ENABLE_HYPER_THREADING"
STREAMS = "NUM_STREAMS"


class Knob(msgspec.Struct, frozen=True):
    """One thing that can be changed, and the values worth trying, the most promising first."""

    name: str
    values: tuple[Value, ...]
    changes_results: bool = False  # texts or vectors can differ


class Change(msgspec.Struct, frozen=True):
    name: str
    value: Value

    @property
    def text(self) -> str:
        return f"{self.name}={'default' if self.value is None else self.value}"


def is_property(name: str) -> bool:
    """Whether it is an OpenVINO property; a model setting otherwise."""
    return name.isupper()


def start_of(model: ModelSettings, knobs: list[Knob]) -> dict[str, Value]:
    """The configuration with which the settings start."""
    start: dict[str, Value] = {}
    for knob in knobs:
        if knob.name == THREADS and model.threads and THREADS not in model.properties:
            start[knob.name] = str(model.threads)
        elif is_property(knob.name):
            start[knob.name] = model.properties.get(knob.name)
        else:
            start[knob.name] = getattr(model, knob.name)
    return start


def settings_with(model: ModelSettings, configuration: Configuration) -> ModelSettings:
    """The model's settings with those of a configuration instead."""
    properties = {name: value for name, value in model.properties.items() if name not in configuration}
    changed: dict[str, Any] = {}
    for name, value in configuration.items():
        if not is_property(name):
            changed[name] = value
        elif value is not None:
            properties[name] = str(value)
    if THREADS in configuration:
        changed["threads"] = 0  # the property takes its place
    return msgspec.structs.replace(model, properties=properties, **changed)
