"""What OpenVINO finds on this machine, as a line of JSON. Runs as a child: a driver may crash it.

python -P -m host.probe [--compute DEVICE]
"""

import argparse
import os
import sys
import time
from typing import Any

import msgspec
import numpy as np

import host.quiet  # noqa: F401 - before anything that imports OpenVINO
from host import linux
from host.native_errors import summary
from ipc.machine import ComputeReport, DeviceFacts, DeviceKind, MachineReport

_SIDE = 64  # of the matrix that is multiplied
_TOTAL_MEMORY = ("GPU_DEVICE_TOTAL_MEM_SIZE", "NPU_DEVICE_TOTAL_MEM_SIZE")
_KINDS: dict[str, DeviceKind] = {"Type.INTEGRATED": "integrated", "Type.DISCRETE": "discrete"}


def report_machine() -> MachineReport:
    """Every available device. Some drivers list properties that cannot be read: those are left out."""
    import openvino

    core = openvino.Core()
    devices = [_facts(core, name) for name in core.available_devices]
    return MachineReport(openvino.__version__, devices)


def _facts(core: Any, name: str) -> DeviceFacts:
    supported: dict[str, str] = _read(core, name, "SUPPORTED_PROPERTIES") or {}
    memory = next((size for key in _TOTAL_MEMORY if key in supported and (size := _read(core, name, key))), 0)
    versions = {
        key: str(value) for key in supported if "VERSION" in key and (value := _read(core, name, key))
    }
    return DeviceFacts(
        name=name,
        full_name=str(_read(core, name, "FULL_DEVICE_NAME") or ""),
        kind=_KINDS.get(str(_read(core, name, "DEVICE_TYPE")), ""),
        capabilities=tuple(map(str, _read(core, name, "OPTIMIZATION_CAPABILITIES") or ())),
        memory_bytes=int(memory),
        versions=versions,
        properties=tuple(key for key, access in supported.items() if access == "RW"),
    )


def _read(core: Any, device: str, key: str) -> Any:
    try:
        return core.get_property(device, key)
    except (RuntimeError, TypeError):
        return None


def compute(device: str) -> ComputeReport:
    """Compile and run a multiplication of two matrices. Raises RuntimeError where the device cannot."""
    from openvino import Core, Model
    from openvino import opset13 as ops

    started = time.monotonic()
    parameter = ops.parameter([1, _SIDE], np.float32)
    weights = ops.constant(np.eye(_SIDE, dtype=np.float32))
    model = Model([ops.matmul(parameter, weights, transpose_a=False, transpose_b=False)], [parameter])
    given = np.arange(_SIDE, dtype=np.float32)[None]
    result = Core().compile_model(model, device)(given)[0]
    if not np.allclose(result, given, rtol=0.01):
        raise RuntimeError("the device computed a wrong result")
    return ComputeReport(time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--compute", metavar="DEVICE")
    device = parser.parse_args().compute
    linux.forbid_core_dumps()
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as out:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keeps the output of native code out of the report
        try:
            report = compute(device) if device else report_machine()
        except RuntimeError as error:
            sys.exit(summary(error))
        out.write(msgspec.json.encode(report) + b"\n")
    sys.stderr.flush()
    os._exit(0)  # without native destructors, which may crash or hang


if __name__ == "__main__":
    main()
