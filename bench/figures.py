"""The figures of `nacelle bench overhead`, each with its budget and its verdict."""

from typing import Literal

import msgspec
from rich.table import Table

from bench.errors import RunFailed
from bench.stats import RequestRecord, Summary, median, summarize

Verdict = Literal["pass", "below budget", "FAIL"]


class Budget(msgspec.Struct, frozen=True):
    """The target of a figure, and what the figure measures."""

    what: str
    limit: float
    unit: str = ""
    at_most: bool = True  # else at least
    failure: float | None = None  # a value worse than this fails the run


SERVED = Budget("served ÷ raw output tokens/s", 0.98, at_most=False, failure=0.90)
SERVED_TO_DEFAULTS = Budget("served ÷ raw output tokens/s with the engine's defaults", 1.05, at_most=False)
SERVED_MANY = Budget("served ÷ raw embedding tokens/s, one input per request", 0.7, at_most=False)
SERVED_LARGE = Budget("served ÷ raw embedding tokens/s, one request", 0.95, at_most=False, failure=0.8)
SERVED_TRANSCRIPTION = Budget(
    "served ÷ raw seconds of audio per second, transcription", 0.95, at_most=False, failure=0.8
)
SERVED_SPEECH = Budget("served ÷ raw seconds of audio per second, speech", 0.95, at_most=False, failure=0.8)
FIRST_AUDIO = Budget("time to first audio, ten sentences ÷ their first one alone", 1.3)
FIRST_TOKEN = Budget("added time to first token, p50, one request at a time", 2.0, "ms")
FRONTEND = Budget("frontend, ipc and synthetic engine ÷ bare Falcon SSE loop, tokens/s", 0.5, at_most=False)
FEATURES = Budget("features on ÷ off, streamed tokens/s", 0.9, at_most=False, failure=0.9)
ARENA = Budget("8 MiB tensor through an arena ÷ one memcpy", 2.5)
MEMORY = Budget("resident memory of the frontend, idle", 80.0, "MiB")
RESTART = Budget("kill → READY again ÷ cold load", 1.2)
SHARED_PREFIX = Budget("time to first token, second ÷ first prompt, 1000 prompt tokens in common", 0.3)
CLI_START = Budget("CLI start", 0.25, "s")
FIRST_WORD = Budget(
    "nacelle run to the first byte, beyond CLI start and the engine's first token", 50.0, "ms"
)
SWAP = Budget("time to first token with a warm prefix, first after a swap ÷ others", 1.3)


class Pair(msgspec.Struct, frozen=True):
    """One alternation: the same measurement of Nacelle and of the baseline."""

    ours: float
    yardstick: float

    @property
    def ratio(self) -> float:
        return self.ours / self.yardstick


def median_pair(pairs: list[Pair]) -> Pair:
    """The median of each side, for display: the figure itself is a median of ratios."""
    return Pair(median([pair.ours for pair in pairs]), median([pair.yardstick for pair in pairs]))


class Figure(msgspec.Struct, frozen=True):
    """One measured figure. `samples` are what `value` is the median of."""

    budget: Budget
    value: float
    samples: list[float]
    variant: str = ""  # distinguishes figures with the same budget
    pairs: list[Pair] = []
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        if self._worse_than(self.budget.failure):
            return "FAIL"
        return "below budget" if self._worse_than(self.budget.limit) else "pass"

    def _worse_than(self, limit: float | None) -> bool:
        if limit is None:
            return False
        return self.value > limit if self.budget.at_most else self.value < limit


def summarize_flawless(records: list[RequestRecord]) -> Summary:
    """A run's summary. Raises RunFailed if a request failed."""
    summary = summarize(records)
    if summary.failures:
        raise RunFailed(f"{summary.failures} {summary.failure_details}")
    return summary


_STYLES: dict[Verdict, str] = {"pass": "green", "below budget": "yellow", "FAIL": "bold red"}


def table(figures: list[Figure]) -> Table:
    shown = Table("figure", "measured", "range", "budget", "verdict", title="The cost of serving")
    for figure in figures:
        budget = figure.budget
        sign = "≤" if budget.at_most else "≥"
        shown.add_row(
            f"{budget.what}{', ' if figure.variant else ''}{figure.variant}"
            + (f"\n[dim]{figure.note}[/dim]" if figure.note else ""),
            f"{figure.value:.3f} {budget.unit}".rstrip(),
            f"{min(figure.samples):.3f} – {max(figure.samples):.3f}",
            f"{sign} {budget.limit:g} {budget.unit}".rstrip(),
            figure.verdict,
            style=_STYLES[figure.verdict],
        )
    return shown
