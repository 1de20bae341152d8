"""How many KV cache blocks a memory budget buys. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from ipc.kv_cache import KvShape, block_bytes, block_tokens


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
