"""Writes the GGUF file of a tiny Llama with random weights, with the package `gguf`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as Kind

HIDDEN, INNER, HEADS, KV_HEADS, LAYERS = 256, 512, 4, 2, 2
HEAD = HIDDEN // HEADS
Tensors = dict[str, np.ndarray]
_SEED = 1


def vocabulary() -> list[str]:
    """A token for each byte, as byte-level BPE writes them, three merged ones and two that end things."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    return [
        *(chr(byte) for byte in visible),
        *(chr(256 + number) for number in range(len(hidden))),
        *("th", "the", "Ġthe"),
        *("<|im_start|>", "<|im_end|>"),
    ]


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (len(vocabulary()), HIDDEN),
        "output_norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        found |= {
            f"blk.{layer}.{name}.weight": shape
            for name, shape in {
                "attn_norm": (HIDDEN,),
                "attn_q": (HIDDEN, HIDDEN),
                "attn_k": (KV_HEADS * HEAD, HIDDEN),
                "attn_v": (KV_HEADS * HEAD, HIDDEN),
                "attn_output": (HIDDEN, HIDDEN),
                "ffn_norm": (HIDDEN,),
                "ffn_gate": (INNER, HIDDEN),
                "ffn_up": (INNER, HIDDEN),
                "ffn_down": (HIDDEN, INNER),
            }.items()
        }
    return found


def random_blocks(kind: Kind, shape: tuple[int, ...]) -> np.ndarray:
    """Bytes of a quantized tensor: blocks whose numbers are small, most of them from random bytes."""
    random = np.random.default_rng(_SEED)
    block, size = GGML_QUANT_SIZES[kind]
    try:
        numbers = random.standard_normal(shape).astype(np.float32) * 0.05
        quantized: np.ndarray = gguf.quants.quantize(numbers, kind)
        return quantized
    except NotImplementedError:
        candidates = random.integers(0, 256, (4096, size), np.uint8)
        with np.errstate(all="ignore"):
            numbers = gguf.quants.dequantize(candidates, kind)
        good = candidates[np.isfinite(numbers).all(axis=1) & (np.abs(numbers).max(axis=1) < 4)]
        assert len(good) > 8, kind
        count = int(np.prod(shape)) // block
        chosen: np.ndarray = good[random.integers(0, len(good), count)].reshape(*shape[:-1], -1)
        return chosen


def write_tiny(
    path: Path,
    kind: Kind = Kind.F16,
    *,
    kinds: dict[str, Kind] | None = None,
    change: Callable[[gguf.GGUFWriter], None] = lambda writer: None,
    leave_out: tuple[str, ...] = (),
    architecture: str = "llama",
    **metadata: Any,
) -> Path:
    """`kind` is that of all weights but norms, `kinds` of some. Metadata are called NAME__NAME."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in _metadata(architecture).items():
        if key not in leave_out:
            value = metadata.pop(key.replace(".", "__"), value)
            add(writer, key, value)
    for key, value in metadata.items():
        add(writer, key.replace("__", "."), value)
    change(writer)
    for name, shape in shapes().items():
        if name not in leave_out:
            _add_tensor(writer, name, shape, (kinds or {}).get(name, kind if len(shape) > 1 else Kind.F32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def _metadata(architecture: str) -> dict[str, Any]:
    tokens = vocabulary()
    kinds = [1] * (len(tokens) - 2) + [3, 3]
    return {
        f"{architecture}.context_length": 512,
        f"{architecture}.embedding_length": HIDDEN,
        f"{architecture}.block_count": LAYERS,
        f"{architecture}.feed_forward_length": INNER,
        f"{architecture}.attention.head_count": HEADS,
        f"{architecture}.attention.head_count_kv": KV_HEADS,
        f"{architecture}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{architecture}.rope.freq_base": 10000.0,
        "general.file_type": 1,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": ["t h", "th e", "Ġ the"],
        "tokenizer.ggml.bos_token_id": len(tokens) - 2,
        "tokenizer.ggml.eos_token_id": len(tokens) - 1,
        "tokenizer.chat_template": "{{ messages[0].content }}",
    }


def _add_tensor(writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], kind: Kind) -> None:
    if kind is Kind.F64:
        writer.add_tensor(name, np.random.default_rng(_SEED).standard_normal(shape) * 0.05)
    elif kind is Kind.F32 or kind is Kind.F16:
        numbers = np.random.default_rng(_SEED).standard_normal(shape) * 0.05
        writer.add_tensor(name, numbers.astype(np.float32 if kind is Kind.F32 else np.float16))
    else:
        writer.add_tensor(name, random_blocks(kind, shape), raw_dtype=kind)
