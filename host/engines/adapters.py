"""LoRA adapters: checked against the model, since the engine only warns of layers that it does not find."""

import json
import re
from pathlib import Path

import openvino_genai as genai

from host.model_folder import ModelFolderError
from ipc.messages import Adapter

_PREFIX = "base_model.model."  # of PEFT; the engine passes over tensors without it
_FACTOR = re.compile(r"(.+?)[._]lora[._](A|B|down|up)\.weight")
_MATMUL = re.compile(r'name="([^"]*)" type="MatMul"')
_MAX_HEADER_BYTES = 100_000_000


def adapter_config(adapter: Adapter, model_xml: Path) -> genai.AdapterConfig:
    """Raises ModelFolderError if the file is no adapter of this model."""
    file = Path(adapter.path)
    check_adapter(file, adapted_layers(file), _MATMUL.findall(model_xml.read_text(encoding="utf-8")))
    # Fusing needs weights that are not quantized, and dynamic adapters are ignored by add_request().
    mode = genai.AdapterConfig.Mode.MODE_STATIC
    return genai.AdapterConfig(genai.Adapter(file), adapter.alpha, mode)


def adapted_layers(file: Path) -> set[str]:
    """The layers that a safetensors file of LoRA factors is for. Raises ModelFolderError."""
    try:
        with file.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(size)) if size <= _MAX_HEADER_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelFolderError(f"the adapter {file} cannot be read: {error}") from error
    if not isinstance(header, dict):
        raise ModelFolderError(f"the adapter {file} is not a safetensors file")
    return {match[1] for name in header if (match := _FACTOR.fullmatch(name))}


def check_adapter(file: Path, layers: set[str], matmuls: list[str]) -> None:
    """Raise ModelFolderError unless every layer is one of the model's, known by their names in its graph."""
    if not layers:
        raise ModelFolderError(f"the adapter {file} holds no LoRA factors")
    known = "\n".join([*matmuls, *(name.replace(".", "_") for name in matmuls)])  # as the engine compares
    unknown = sorted(
        layer for layer in layers if not layer.startswith(_PREFIX) or layer.removeprefix(_PREFIX) not in known
    )
    if unknown and ".layers." not in known:
        raise ModelFolderError(f"adapters need a model whose graph names its layers, unlike GGUF's: {file}")
    if unknown:
        raise ModelFolderError(
            f"the model lacks {len(unknown)} of the {len(layers)} layers, such as {unknown[0]}, of {file}"
        )
