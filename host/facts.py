"""What the operator wants to know of a loaded model: the threads that compute it, and its weights' format."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from openvino import Core, Model
from openvino import opset13 as ops

from host.engines.quantization import given_properties
from ipc.ir_facts import read_ir
from ipc.messages import Launch
from ipc.model_files import FileFault

_FORMATS = {
    "u4": "int4",
    "i4": "int4",
    "u8": "int8",
    "i8": "int8",
    "f16": "fp16",
    "f32": "fp32",
    "f64": "fp64",
}
_FORMATS |= {"f8e4m3": "fp8", "f8e5m2": "fp8", "u2": "int2", "f4e2m1": "fp4"}
_SHARE = 0.05  # of the elements, from which on a format is mentioned


def inference_threads(launch: Launch[Any]) -> int:
    """The number of threads that OpenVINO uses with these settings; 0 if unknown, or not a CPU."""
    if not launch.device.startswith("CPU"):
        return 0
    properties = given_properties(launch)
    parameter = ops.parameter([1], np.float32)
    try:  # the plugin decides when it compiles, and the pipelines do not let others ask
        compiled = Core().compile_model(Model([parameter], [parameter]), launch.device, properties)
        return int(compiled.get_property("INFERENCE_NUM_THREADS"))
    except (RuntimeError, TypeError, ValueError):
        return 0


def weights_format(xml: Path) -> str:
    """The formats of most of an IR's constants, the commonest first: "int4/int8". Empty if unknown."""
    try:
        elements = Counter(read_ir(xml).elements)
    except FileFault:
        return ""
    total = elements.total()
    common = [kind for kind, count in elements.most_common() if count >= total * _SHARE]
    return "/".join(dict.fromkeys(_FORMATS.get(kind, kind) for kind in common))
