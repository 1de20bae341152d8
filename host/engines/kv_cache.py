"""How many KV cache blocks a memory budget buys. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from host.model_folder import KvShape

_CPU_BLOCK_TOKENS = 32
_BLOCK_TOKENS = 16  # of GPUs
_SCALE_BYTES = 8  # scale and zero point of one quantized group, as float32
_BYTES_PER_VALUE = {"f32": 4, "f16": 2, "bf16": 2}
# Without the model's dimensions: as large as a 70 B model's cache in half precision.
_UNKNOWN_BYTES_PER_TOKEN = 320 * 1024


def block_tokens(device: str) -> int:
    """Tokens in one block of the cache on an OpenVINO device."""
    return _CPU_BLOCK_TOKENS if device.startswith("CPU") else _BLOCK_TOKENS


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


def block_count(
    budget_bytes: int, shape: KvShape | None, device: str, properties: Mapping[str, str], beside: int = 0
) -> int:
    """Whole blocks in the budget, at least one. Each takes `beside` more bytes in a draft model's cache."""
    return max(1, budget_bytes // (block_bytes(shape, device, properties) + beside))


class Eviction(NamedTuple):
    """What is kept of a request's cache, in tokens, all of them whole blocks."""

    start: int
    recent: int
    most: int  # start and recent included; the rest goes to what is attended to most


def eviction(tokens: int, device: str) -> Eviction:
    """At most `tokens`, and at least four blocks: the first, two recent ones and one in between."""
    block = block_tokens(device)
    most = max(4, tokens // block)
    return Eviction(block, max(2, most // 4) * block, most * block)
