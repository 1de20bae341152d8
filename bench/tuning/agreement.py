"""How far results agree with those in full precision. Pure."""

from collections.abc import Sequence

MIN_TEXT = 0.97
MIN_VECTORS = 0.995


def text_agreement(reference: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> float:
    """The share of greedy tokens that are those of the reference, 0 to 1.

    Each pair of texts counts up to and including its first difference, since what follows continues another
    text. So it estimates how often the next token of the same text is the same.
    """
    equal = differences = 0
    for expected, found in zip(reference, other, strict=True):
        same = _equal_tokens(expected, found)
        equal += same
        differences += same < len(expected)
    return equal / (equal + differences) if equal + differences else 1.0


def _equal_tokens(expected: Sequence[int], found: Sequence[int]) -> int:
    for index, token in enumerate(expected):
        if index >= len(found) or found[index] != token:
            return index
    return len(expected)


def vector_agreement(reference: Sequence[bytes], other: Sequence[bytes]) -> float:
    """The smallest cosine between tensors of f4 and those of the reference, -1 to 1."""
    return min((_cosine(_floats(a), _floats(b)) for a, b in zip(reference, other, strict=True)), default=1.0)


def _floats(payload: bytes) -> list[float]:
    return [float(value) for value in memoryview(payload).cast("f")]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    if len(one) != len(other):
        return -1.0
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    lengths = sum(a * a for a in one) * sum(b * b for b in other)
    return float(dot / lengths**0.5) if lengths > 0 else 0.0


def threshold(asked: float, of_the_start: float) -> float:
    """What a configuration must reach: what was asked for, or as much as the start where that has less."""
    return min(asked, of_the_start)
