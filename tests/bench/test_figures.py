"""Verdicts: which side of its budget a figure is on, and what ends the run with a failure."""

import io

import pytest
from rich.console import Console

from bench.errors import RunFailed
from bench.figures import (
    SERVED,
    Budget,
    Figure,
    Pair,
    Verdict,
    median_pair,
    summarize_flawless,
    table,
)
from bench.stats import RequestRecord

_AT_MOST = Budget("time", 3.0, "ms")
_AT_LEAST = Budget("speed", 0.5, at_most=False)


@pytest.mark.parametrize(
    ("budget", "value", "verdict"),
    [
        (_AT_MOST, 3.0, "pass"),
        (_AT_MOST, 3.01, "below budget"),
        (_AT_MOST, 1000.0, "below budget"),
        (_AT_LEAST, 0.5, "pass"),
        (_AT_LEAST, 0.49, "below budget"),
        (SERVED, 0.98, "pass"),
        (SERVED, 0.979, "below budget"),
        (SERVED, 0.90, "below budget"),
        (SERVED, 0.899, "FAIL"),
    ],
)
def test_a_figure_is_judged_by_its_budget(budget: Budget, value: float, verdict: Verdict) -> None:
    assert Figure(budget, value, [value]).verdict == verdict


def test_a_pair_is_ours_over_the_yardstick() -> None:
    assert Pair(ours=30, yardstick=40).ratio == pytest.approx(0.75)
    assert median_pair([Pair(1, 6), Pair(2, 5), Pair(9, 4)]) == Pair(2, 5)


def test_a_run_with_a_failed_request_has_no_figure() -> None:
    good = RequestRecord(0.0, 1.0, output_tokens=1)
    assert summarize_flawless([good]).completed == 1
    with pytest.raises(RunFailed, match="http_500"):
        summarize_flawless([good, RequestRecord(0.0, 1.0, failure="http_500", detail="oh")])


def test_the_table_shows_each_figure_beside_its_budget() -> None:
    console = Console(file=io.StringIO(), width=140)
    console.print(table([Figure(SERVED, 0.951, [0.94, 0.951, 0.96], "concurrency 8")]))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    for part in ("concurrency 8", "0.951", "0.940 – 0.960", "≥ 0.98", "below budget"):
        assert part in shown
