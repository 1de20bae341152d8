"""LoRA adapters: checked against the model, since the engine only warns of layers that it does not find."""

import re
from pathlib import Path

import openvino_genai as genai

from host.errors import LaunchError
from host.safetensors import Entry, SafetensorsError, map_file, read_header
from ipc.messages import Adapter

_PREFIX = "base_model.model."  # of PEFT; the engine passes over tensors without it
_FACTOR = re.compile(r"(.+?)[._]lora[._](A|B|down|up)\.weight")
_MATMUL = re.compile(r'name="([^"]*)" type="MatMul"')
_SIDES = {"A": "A", "down": "A", "B": "B", "up": "B"}


def adapter_config(adapter: Adapter, model_xml: Path) -> genai.AdapterConfig:
    """Raises LaunchError if the file is not an adapter of this model."""
    file = Path(adapter.path)
    check_adapter(file, adapted_layers(file), _MATMUL.findall(model_xml.read_text(encoding="utf-8")))
    # Fusing needs weights that are not quantized, and dynamic adapters are ignored by add_request().
    mode = genai.AdapterConfig.Mode.MODE_STATIC
    return genai.AdapterConfig(genai.Adapter(file), adapter.alpha, mode)


def adapted_layers(file: Path) -> set[str]:
    """The layers that a safetensors file of LoRA factors is for. Raises LaunchError if it is damaged: the
    engine would read zeros for what is cut off, and ignore factors that do not fit each other."""
    factors: dict[str, dict[str, list[int]]] = {}
    for name, tensor in _read_entries(file).items():
        if match := _FACTOR.fullmatch(name):
            factors.setdefault(match[1], {})[_SIDES[match[2]]] = tensor.shape
    for layer, sides in factors.items():
        if sides.keys() != {"A", "B"} or sides["A"][:1] != sides["B"][1:2]:
            raise LaunchError(f"the adapter {file} has no two LoRA factors of one rank for {layer}")
    return set(factors)


def _read_entries(file: Path) -> dict[str, Entry]:
    try:
        if not file.is_file():
            raise LaunchError(f"the adapter {file} is not a regular file")
        return read_header(map_file(file)).entries
    except OSError as error:
        raise LaunchError(f"the adapter {file} cannot be read: {error.strerror}") from error
    except SafetensorsError as error:
        raise LaunchError(f"the adapter {file} cannot be used: {error}") from error


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
