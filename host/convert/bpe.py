"""A byte-pair vocabulary as OpenVINO's operations take it, and the tokens that merges alone do not make."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

Merge = tuple[bytes, bytes]
LONGEST_MERGED = 1024  # bytes of a token that is looked at; real ones have at most a few hundred


class Vocabulary(NamedTuple):
    """Tokens by id. Those that no text may become are empty in `encoded`."""

    encoded: list[bytes]  # what a piece of text must be to become this token
    shown: list[bytes]  # what the token stands for in an answer
    merges: list[Merge]
    special: dict[int, str]  # found in any text before it is cut into words
    hidden: list[int]  # left out of answers
    byte_fallback: bool = False  # unknown characters become tokens such as <0x0A>


def merge(word: bytes, ranks: dict[Merge, int]) -> list[bytes]:
    """What the merges make of one word: always the pair of the lowest rank first, leftmost if equal."""
    parts = [word[at : at + 1] for at in range(len(word))]
    none = len(ranks)
    found = [ranks.get(pair, none) for pair in pairwise(parts)]
    while found and (rank := min(found)) < none:
        at = found.index(rank)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        del found[at]
        for left in (at - 1, at):
            if 0 <= left < len(found):
                found[left] = ranks.get((parts[left], parts[left + 1]), none)
    return parts


def not_merged(tokens: Sequence[bytes], merges: Sequence[Merge]) -> list[int]:
    """Ids of the tokens of several bytes that the merges do not make of the same text."""
    ranks = {pair: rank for rank, pair in reversed(list(enumerate(merges)))}
    return [
        number
        for number, token in enumerate(tokens)
        if 1 < len(token) <= LONGEST_MERGED and merge(token, ranks) != [token]
    ]
