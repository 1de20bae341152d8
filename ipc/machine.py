"""What a throw-away child process reports about the devices that OpenVINO finds on this machine."""

from typing import Literal

import msgspec

DeviceKind = Literal["", "integrated", "discrete"]  # empty: OpenVINO does not report it


class DeviceFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One OpenVINO device. What it does not report is empty or 0."""

    name: str  # OpenVINO's, such as GPU.0
    full_name: str = ""
    kind: DeviceKind = ""
    capabilities: tuple[str, ...] = ()  # such as FP16, INT8
    memory_bytes: int = 0  # its total memory; 0 for a CPU
    versions: dict[str, str] = {}  # of its driver and compiler: property → value
    properties: tuple[str, ...] = ()  # that can be set when a model is compiled for it


class MachineReport(msgspec.Struct, frozen=True):
    """What `python -m host.probe` writes: a line of JSON."""

    openvino: str  # the version of the library that was loaded
    devices: list[DeviceFacts]


class ComputeReport(msgspec.Struct, frozen=True):
    """What `python -m host.probe --compute DEVICE` writes after it has computed something there."""

    seconds: float  # to compile a small model and to run it once
