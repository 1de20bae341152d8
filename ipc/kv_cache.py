"""How large a KV cache is: a model's dimensions, and the bytes of a block of tokens. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

_CPU_BLOCK_TOKENS = 32
_BLOCK_TOKENS = 16  # of GPUs
_SCALE_BYTES = 8  # scale and zero point of one quantized group, as float32
_BYTES_PER_VALUE = {"f32": 4, "f16": 2, "bf16": 2}
# Without the model's dimensions: as large as a 70 B model's cache in half precision.
_UNKNOWN_BYTES_PER_TOKEN = 320 * 1024


class KvShape(msgspec.Struct, frozen=True):
    """The dimensions that decide how large a KV cache is."""

    layers: int
    kv_heads: int
    head_dim: int


def block_tokens(device: str) -> int:
    """Tokens in one block of the cache on an OpenVINO device."""
    return _CPU_BLOCK_TOKENS if device.startswith("CPU") else _BLOCK_TOKENS


def least_step_tokens(device: str) -> int:
    """Tokens that a step must have room for, so that a prompt computed in pieces of whole blocks goes on: the
    rest of a block that was found, and one more."""
    return 2 * block_tokens(device)


def block_bytes(shape: KvShape | None, device: str, properties: Mapping[str, str]) -> int:
    """Bytes of one block over all layers, keys and values."""
    tokens = block_tokens(device)
    if shape is None:
        return tokens * _UNKNOWN_BYTES_PER_TOKEN
    precision = properties.get("KV_CACHE_PRECISION", "u8" if device.startswith("CPU") else "f16").lower()
    dim = shape.head_dim
    if precision in _BYTES_PER_VALUE:
        per_head = 2 * tokens * dim * _BYTES_PER_VALUE[precision]
    else:  # 8 bits: keys are quantized by channel, values by token
        per_head = dim * (tokens + _SCALE_BYTES) + tokens * (dim + _SCALE_BYTES)
    return shape.layers * shape.kv_heads * per_head


def kv_shape_of(config: Mapping[str, Any]) -> KvShape | None:
    """As a model's config.json states it; None if it does not."""
    layers = positive(config, "num_hidden_layers")
    heads = positive(config, "num_attention_heads")
    kv_heads = positive(config, "num_key_value_heads") or heads
    hidden = positive(config, "hidden_size")
    head_dim = positive(config, "head_dim") or (hidden // heads if hidden and heads else None)
    return KvShape(layers, kv_heads, head_dim) if layers and kv_heads and head_dim else None


def positive(config: Mapping[str, Any], key: str) -> int | None:
    """A positive integer of a config; None if it has none of this name."""
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else None
