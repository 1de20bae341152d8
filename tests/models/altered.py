"""SmolLM2 altered, in place of what no package holds: another draft model, a graph that names its layers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

LAYERS, HIDDEN, INNER = 30, 576, 1536  # of SmolLM2-135M
_DOWN_PROJECTION = [HIDDEN, INNER]


def altered(source: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """A copy of an IR folder whose graph went through `change`."""
    folder.mkdir()
    for file in source.iterdir():
        if not file.name.startswith("openvino_model."):
            shutil.copy(file, folder)
    model = ov.Core().read_model(source / "openvino_model.xml")
    change(model)
    ov.save_model(model, folder / "openvino_model.xml", compress_to_fp16=False)
    return folder


def blur_weights(model: Any) -> None:
    """A draft model that is often right, and often not."""
    random = np.random.default_rng(1)
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_element_type() == ov.Type.f16:
            scales = node.data
            if scales.size > 5000:
                blurred = (scales * (1 + 0.08 * random.normal(size=scales.shape))).astype(np.float16)
                node.output(0).replace(ov.opset13.constant(blurred).output(0))


def name_layers(model: Any) -> None:
    """Name the down projections as an export from PyTorch does."""
    projections = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() == "MatMul"
        and node.input_value(1).get_partial_shape().is_static
        and list(node.input_value(1).get_shape()) == _DOWN_PROJECTION
    ]
    assert len(projections) == LAYERS
    for number, node in enumerate(projections):
        node.set_friendly_name(f"__module.model.layers.{number}.mlp.down_proj/ov_ext::linear/MatMul")


def write_adapter(file: Path, layer: str = "base_model.model.model.layers.{}.mlp.down_proj") -> Path:
    """A random LoRA of rank 4 on all down projections, in the safetensors format."""
    random = np.random.default_rng(0)
    tensors = {}
    for number in range(LAYERS):
        name = layer.format(number)
        tensors[f"{name}.lora_A.weight"] = random.normal(size=(4, INNER)).astype(np.float32) * 0.1
        tensors[f"{name}.lora_B.weight"] = random.normal(size=(HIDDEN, 4)).astype(np.float32) * 0.1
    header, data = {}, b""
    for name, tensor in tensors.items():
        end = len(data) + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [len(data), end]}
        data += tensor.tobytes()
    encoded = json.dumps(header).encode()
    file.write_bytes(len(encoded).to_bytes(8, "little") + encoded + data)
    return file
