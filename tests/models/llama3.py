"""A random tiny Llama with the tokenizer of Llama 3 and its context of 131072 tokens."""

import shutil
from importlib import metadata
from pathlib import Path

import gguf
import numpy as np

from frontend.models.converter import convert
from tests.models.cache import cached
from tests.models.templates import chat_template
from tests.models.vocabularies import write_vocabulary

_RECIPE = 1  # counts the models that this module has made
_FOLDER = f"tiny-llama3-{_RECIPE}-{metadata.version('openvino-genai')}"
_CONTEXT = 131_072
_HIDDEN, _INNER, _LAYERS, _HEADS = 64, 128, 1, 2


def tiny_llama3() -> Path:
    """The IR folder that our converter makes of its GGUF file."""
    return cached(_FOLDER, _build)


def _build(folder: Path) -> None:
    scratch = folder / "scratch"
    scratch.mkdir()
    write_llama(scratch / "llama3.gguf", "llama3", chat_template("llama3.1"))
    convert(scratch / "llama3.gguf", folder)
    shutil.rmtree(scratch)


def write_llama(path: Path, vocabulary: str, template: str) -> None:
    """A GGUF file of random weights with a model's tokens; see `vocabularies`."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_HIDDEN)
    writer.add_feed_forward_length(_INNER)
    writer.add_block_count(_LAYERS)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(5e5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_chat_template(template)
    tokens = write_vocabulary(writer, vocabulary)
    random = np.random.default_rng(1)

    def linear(outputs: int, inputs: int) -> np.ndarray:
        weight: np.ndarray = random.standard_normal((outputs, inputs)) / inputs**0.5
        return weight.astype(np.float16)

    weights = {"token_embd": linear(len(tokens), _HIDDEN), "output_norm": np.ones(_HIDDEN, np.float32)}
    for layer in range(_LAYERS):
        block = {name: linear(_HIDDEN, _HIDDEN) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        block |= {"ffn_gate": linear(_INNER, _HIDDEN), "ffn_up": linear(_INNER, _HIDDEN)}
        block |= {"ffn_down": linear(_HIDDEN, _INNER)}
        block |= {name: np.ones(_HIDDEN, np.float32) for name in ("attn_norm", "ffn_norm")}
        weights |= {f"blk.{layer}.{name}": weight for name, weight in block.items()}
    for name, weight in weights.items():
        writer.add_tensor(f"{name}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
