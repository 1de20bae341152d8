"""When alternating pairs are enough to call a change better, or not. Pure."""

from collections.abc import Sequence
from typing import Literal

from bench.stats import median

Verdict = Literal["better", "not better"]

GAIN = 1.02  # a smaller ratio of speeds is not worth keeping
MAX_PAIRS = 7
_CLEARLY_WORSE = 0.95
_CLEARLY_BETTER = 1.05


def judge(ratios: Sequence[float]) -> Verdict | None:
    """Of ratios of speeds, changed ÷ unchanged, one for each pair. None: measure another pair.

    Better needs a median of at least GAIN and the agreement of all pairs, of which 7 may have one exception.
    """
    count, middle = len(ratios), median(ratios) if ratios else 1.0
    if count < 2:
        return None
    if max(ratios) < _CLEARLY_WORSE:
        return "not better"
    if count < 3:
        return None
    if min(ratios) > _CLEARLY_BETTER:
        return "better"
    if middle < 1:
        return "not better"
    if count < 5:
        return None
    if middle < GAIN:
        return "not better"
    if min(ratios) > 1:
        return "better"
    if count < MAX_PAIRS:
        return None
    return "better" if sum(ratio <= 1 for ratio in ratios) <= 1 else "not better"
