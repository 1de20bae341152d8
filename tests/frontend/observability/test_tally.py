"""Counts of what was answered, since the start and lately."""

import pytest

from frontend.observability.tally import MODELS, Ended, Tally


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def ended(model: str | None = "m", outcome: str = "ok", seconds: float = 2.0) -> Ended:
    return Ended(model=model, outcome=outcome, seconds=seconds, prompt_tokens=10, completion_tokens=30)


def test_requests_count_by_model_and_outcome(clock):
    tally = Tally(clock)
    tally.add(ended())
    tally.add(ended(outcome="queue_full", seconds=0.0))
    tally.add(ended(model=None, outcome="not_found"))
    assert tally.totals("m").outcomes == {"ok": 1, "queue_full": 1}
    assert tally.totals().outcomes == {"ok": 1, "queue_full": 1, "not_found": 1}
    assert (tally.totals("m").prompt_tokens, tally.totals("m").completion_tokens) == (20, 60)
    assert tally.totals("m").mean_seconds == 2.0  # of those that succeeded
    assert tally.totals("other").mean_seconds is None


def test_rates_are_of_the_window_or_since_the_start(clock):
    tally = Tally(clock)
    clock.now += 20
    tally.add(ended())
    assert tally.totals().per_second.completion_tokens == {"1m": 1.5, "5m": 1.5, "15m": 1.5}
    clock.now += 580
    assert tally.totals().per_second.requests == {
        "1m": 0.0,
        "5m": 0.0,
        "15m": pytest.approx(1 / 600, abs=1e-4),
    }
    for _ in range(1000):  # the ring stays bounded, and what has left it counts no longer
        clock.now += 10
        tally.add(ended())
    assert tally.totals().per_second.requests == {"1m": 0.1, "5m": 0.1, "15m": 0.1}
    assert tally.totals().requests == 1001


def test_models_that_are_told_apart_are_bounded(clock):
    tally = Tally(clock)
    for number in range(MODELS + 3):
        tally.add(ended(f"m{number}"))
    assert len(tally.models) == MODELS
    assert tally.totals("m0").requests == 0
    assert tally.totals().requests == MODELS + 3
