"""LoRA adapters: checked against the model, since the engine only warns of layers that it does not find."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import msgspec
import openvino_genai as genai

from host.errors import LaunchError
from ipc.messages import Adapter

_PREFIX = "base_model.model."  # of PEFT; the engine passes over tensors without it
_FACTOR = re.compile(r"(.+?)[._]lora[._](A|B|down|up)\.weight")
_MATMUL = re.compile(r'name="([^"]*)" type="MatMul"')
_MAX_HEADER_BYTES = 100_000_000
_SIDES = {"A": "A", "down": "A", "B": "B", "up": "B"}


class _Tensor(msgspec.Struct):
    """As the header of a safetensors file describes it."""

    shape: list[int]
    data_offsets: tuple[int, int]


def adapter_config(adapter: Adapter, model_xml: Path) -> genai.AdapterConfig:
    """Raises LaunchError if the file is not an adapter of this model."""
    file = Path(adapter.path)
    check_adapter(file, adapted_layers(file), _MATMUL.findall(model_xml.read_text(encoding="utf-8")))
    # Fusing needs weights that are not quantized, and dynamic adapters are ignored by add_request().
    mode = genai.AdapterConfig.Mode.MODE_STATIC
    return genai.AdapterConfig(genai.Adapter(file), adapter.alpha, mode)


def adapted_layers(file: Path) -> set[str]:
    """The layers that a safetensors file of LoRA factors is for. Raises LaunchError if it is damaged:
    the engine would take zeros for what is cut off, and pass over factors that do not fit each other."""
    header, data_bytes = _read_header(file)
    factors: dict[str, dict[str, list[int]]] = {}
    for name, tensor in header.items():
        if match := _FACTOR.fullmatch(name):
            shape, end = _shape_and_end(tensor)
            if end > data_bytes:
                raise LaunchError(
                    f"the adapter {file} is incomplete: {data_bytes} of {end} bytes; download it again"
                )
            factors.setdefault(match[1], {})[_SIDES[match[2]]] = shape
    for layer, sides in factors.items():
        if sides.keys() != {"A", "B"} or sides["A"][:1] != sides["B"][1:2]:
            raise LaunchError(f"the adapter {file} has no two LoRA factors of one rank for {layer}")
    return set(factors)


def _read_header(file: Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and the number of bytes after it."""
    try:
        if not file.is_file():
            raise LaunchError(f"the adapter {file} is not a regular file")
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size)) if size <= _MAX_HEADER_BYTES else None
            data_bytes = file.stat().st_size - 8 - size
    except (OSError, ValueError, RecursionError) as error:
        raise LaunchError(f"the adapter {file} cannot be read: {error}") from error
    if not isinstance(header, dict):
        raise LaunchError(f"the adapter {file} is not a safetensors file")
    return header, data_bytes


def _shape_and_end(tensor: object) -> tuple[list[int], int]:
    """A tensor's shape, and where its data ends; an impossible end for a description that is not valid."""
    try:
        described = msgspec.convert(tensor, _Tensor)
    except msgspec.ValidationError:
        return [], sys.maxsize
    return described.shape, max(described.data_offsets)


def check_adapter(file: Path, layers: set[str], matmuls: list[str]) -> None:
    """Raise LaunchError unless every layer is one of the model's, known by their names in its graph."""
    if not layers:
        raise LaunchError(f"the adapter {file} holds no LoRA factors")
    known = "\n".join([*matmuls, *(name.replace(".", "_") for name in matmuls)])  # as the engine compares
    unknown = sorted(
        layer for layer in layers if not layer.startswith(_PREFIX) or layer.removeprefix(_PREFIX) not in known
    )
    if unknown and ".layers." not in known:
        raise LaunchError(f"adapters need a model whose graph names its layers, unlike GGUF's: {file}")
    if unknown:
        raise LaunchError(
            f"the model lacks {len(unknown)} of the {len(layers)} layers, such as {unknown[0]}, of {file}"
        )
