"""Pure decisions of the router: which replica, and how long a refused client should wait."""

import math
from collections.abc import Sequence

import msgspec

# A shared prefix is worth this much extra load, in tokens, before balance matters more.
AFFINITY_MARGIN_TOKENS = 4096
CHARACTERS_PER_TOKEN = 4
ASSUMED_OUTPUT_TOKENS = 256  # of a request that sets no limit


class Load(msgspec.Struct, frozen=True):
    """One ready replica as the choice sees it."""

    outstanding_tokens: int
    free_slots: int
    matching_blocks: int  # of the prompt's prefix, see prefixes.py


def choose(loads: Sequence[Load]) -> int | None:
    """The index of the replica to use: longest shared prefix first unless its load exceeds the least by
    AFFINITY_MARGIN_TOKENS, then least outstanding tokens. None if no slot is free."""
    open_ones = [index for index, load in enumerate(loads) if load.free_slots > 0]
    if not open_ones:
        return None
    least = min(loads[index].outstanding_tokens for index in open_ones)
    near = [i for i in open_ones if loads[i].outstanding_tokens <= least + AFFINITY_MARGIN_TOKENS]
    return max(near, key=lambda i: (loads[i].matching_blocks, -loads[i].outstanding_tokens))


def estimated_tokens(prompt_bytes: int, max_tokens: int | None) -> int:
    """A sequence's share of a replica's load, before its prompt is tokenized."""
    return prompt_bytes // CHARACTERS_PER_TOKEN + (max_tokens or ASSUMED_OUTPUT_TOKENS)


def retry_after_seconds(waiting: int, slots: int, mean_seconds: float) -> int:
    """When a queue of `waiting` sequences, each holding one of `slots` for `mean_seconds`, has moved on."""
    return max(1, min(60, math.ceil(waiting * mean_seconds / max(1, slots))))
