"""How a model wants an input, or a pair of texts, framed with special tokens."""

from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from host.vectors.request import IntArray, TokenRow

# Words that every vocabulary holds; their token ids have neither beginning nor end in common.
PROBES = ("the", "of")


class Framing(NamedTuple):
    """Special tokens before and after an input, and between the two texts of a pair."""

    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    middle: tuple[int, ...]

    @property
    def single_tokens(self) -> int:
        return len(self.prefix) + len(self.suffix)

    @property
    def pair_tokens(self) -> int:
        return self.single_tokens + len(self.middle)

    def single(self, ids: IntArray) -> TokenRow:
        row = np.concatenate((self.prefix, ids, self.suffix), dtype=np.int64, casting="unsafe")
        return TokenRow(row, len(row))

    def pair(self, first: IntArray, second: IntArray) -> TokenRow:
        parts = (self.prefix, first, self.middle, second, self.suffix)
        row = np.concatenate(parts, dtype=np.int64, casting="unsafe")
        return TokenRow(row, len(self.prefix) + len(first) + len(self.middle))

    def strip(self, framed: IntArray) -> IntArray:
        """The ids that `single` has framed."""
        return framed[len(self.prefix) : len(framed) - len(self.suffix)]


def find_framing(probes: Sequence[IntArray], pair: IntArray | None, doubled: bool = False) -> Framing:
    """The framing with which a tokenizer encodes PROBES, each alone and, if it can, both as a pair.

    If it cannot, the tokens between the two texts are those that end an input, twice if `doubled`.
    """
    one, other = (probe.tolist() for probe in probes)
    prefix = _common(one, other)
    suffix = _common(one[::-1], other[::-1])[::-1]
    if pair is None:
        return Framing(prefix, suffix, suffix * 2 if doubled else suffix)
    begin = len(one) - len(suffix)  # of the middle
    end = len(pair) - len(other) + len(prefix)
    return Framing(prefix, suffix, tuple(pair.tolist()[begin:end]))


def _common(one: list[int], other: list[int]) -> tuple[int, ...]:
    """What two lists begin with."""
    return tuple(a for a, _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))
