"""Which waiting inputs share a forward pass, and the shape of that pass: pure functions of lengths.

A pass computes `rows × length` tokens, padding included, so inputs of similar length belong together. Each
new shape costs the CPU plugin memory for good and kernels to compile, so shapes come from a small set:

- A full batch has the maximum number of rows for its length, and lengths are rounded up finely: there is one
  shape for each length.
- Any other batch has a power of two of rows, and lengths are rounded up to one of four per octave.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

_SHORTEST = 8  # tokens that the shortest shape has
_CANDIDATES = 8  # lengths above the anchor's that are tried as the length of the batch


class Limits(NamedTuple):
    """What bounds a forward pass."""

    tokens: int  # of a pass, padding included; a longer input has a pass of its own
    window: int  # the model's longest input, in tokens
    overhead: int  # cost of a pass beside its tokens, in tokens


class Take(NamedTuple):
    """A number of inputs of one length."""

    length: int
    inputs: int


class Plan(NamedTuple):
    """A forward pass of shape [rows, length] for the inputs in `takes`; the other rows are padding."""

    rows: int
    length: int
    takes: tuple[Take, ...]
    efficiency: float  # tokens of inputs ÷ cost of the pass, both in tokens


def plan_batch(waiting: Sequence[Take], anchor: int, limits: Limits) -> Plan:
    """The batch that contains an input of length `anchor` and computes the fewest tokens per input token.

    `waiting` holds the numbers of waiting inputs by ascending length, the anchor's among them.
    """
    plans = [
        plan for chosen in _candidates(waiting, anchor, limits) for plan in _shaped(chosen, anchor, limits)
    ]
    return max(plans, key=lambda plan: plan.efficiency)


def fine_length(length: int, window: int) -> int:
    """A length rounded up to at least 16 steps per octave: at most 6 % of padding."""
    return _rounded(length, 16, window)


def coarse_length(length: int, window: int) -> int:
    """A length rounded up to four steps per octave, 8 at least."""
    return max(min(_SHORTEST, window), _rounded(length, 4, window))


def _rounded(length: int, steps: int, window: int) -> int:
    step = max(1, (1 << (length - 1).bit_length()) // (2 * steps))
    return min(window, -(-length // step) * step)


def _candidates(waiting: Sequence[Take], anchor: int, limits: Limits) -> Iterator[list[Take]]:
    """Batches of descending lengths, one for each length that the longest input may have."""
    at = next(index for index, take in enumerate(waiting) if take.length == anchor)
    for top in range(at, min(len(waiting), at + _CANDIDATES)):
        if waiting[top].length > 2 * anchor + _SHORTEST:
            return
        yield _filled(waiting, top, at, limits)


def _filled(waiting: Sequence[Take], top: int, at: int, limits: Limits) -> list[Take]:
    """Inputs from those at `top` downwards, as many as a pass holds, if they have half of its length at least
    or the anchor's."""
    length = waiting[top].length
    shortest = min(length // 2, waiting[at].length)
    room = max(1, limits.tokens // fine_length(length, limits.window))
    eligible = [take for take in reversed(waiting[: top + 1]) if take.length >= shortest]
    return _longest(eligible, room, waiting[at].length)


def _longest(takes: list[Take], rows: int, anchor: int) -> list[Take]:
    """`rows` of the inputs, which are in descending order: the longest ones, but the anchor in any case."""
    kept: list[Take] = []
    for take in takes:
        if not rows:
            break
        reserved = 1 if take.length > anchor else 0
        count = min(take.inputs, rows - reserved)
        if count > 0:
            kept.append(Take(take.length, count))
            rows -= count
    return kept


def _shaped(chosen: list[Take], anchor: int, limits: Limits) -> Iterator[Plan]:
    """The batch, or the longest inputs of it, in each shape that they may have."""
    top, count = chosen[0].length, sum(take.inputs for take in chosen)
    fine, coarse = fine_length(top, limits.window), coarse_length(top, limits.window)
    if count == max(1, limits.tokens // fine):
        yield _plan(count, fine, chosen, limits)
    rows = 1 << (count - 1).bit_length()
    if rows * coarse <= max(limits.tokens, coarse):
        yield _plan(rows, coarse, chosen, limits)
    while rows > 1:
        rows //= 2
        fewer = _longest(chosen, rows, anchor)
        yield _plan(rows, coarse_length(fewer[0].length, limits.window), fewer, limits)


def _plan(rows: int, length: int, takes: list[Take], limits: Limits) -> Plan:
    tokens = sum(take.length * take.inputs for take in takes)
    return Plan(rows, length, tuple(takes), tokens / (limits.overhead + rows * length))
