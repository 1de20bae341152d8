"""Blocking calls in threads: their results, their errors, and the time they may take."""

import threading
import time

import pytest

from host.engines.base import EngineLost, EngineStarved
from host.one_shot import OneShot
from host.stall import StallBudget

SECONDS = 30.0


def test_a_call_ends_with_its_result() -> None:
    calls: OneShot[int] = OneShot(StallBudget(SECONDS))
    started = calls.start(lambda: 7)
    (ended,) = calls.ended(SECONDS)
    assert (ended, ended.result(), calls.running) == (started, 7, 0)


def test_what_a_call_raises_is_in_its_future() -> None:
    calls: OneShot[int] = OneShot(StallBudget(SECONDS))
    calls.start(lambda: 1 // 0)
    (ended,) = calls.ended(SECONDS)
    assert isinstance(ended.exception(), ZeroDivisionError)
    assert calls.free


def test_the_caller_goes_on_while_calls_run_in_each_lane() -> None:
    calls: OneShot[str] = OneShot(StallBudget(SECONDS), lanes=2)
    go = threading.Event()
    together = threading.Barrier(3, timeout=SECONDS)

    def call() -> str:
        together.wait()
        go.wait(SECONDS)
        return "done"

    calls.start(call)
    assert calls.free
    calls.start(call)
    together.wait()
    assert (calls.ended(0), calls.running, calls.free) == ([], 2, False)
    go.set()
    ended = calls.ended(SECONDS)
    while calls.running:
        ended += calls.ended(SECONDS)
    assert [future.result() for future in ended] == ["done", "done"]


def test_waiting_ends_when_a_call_does() -> None:
    calls: OneShot[None] = OneShot(StallBudget(SECONDS))
    calls.start(lambda: time.sleep(0.01))
    began = time.monotonic()
    assert calls.ended(SECONDS)
    assert time.monotonic() - began < SECONDS / 2


def test_nothing_ends_where_nothing_runs() -> None:
    assert OneShot[None](StallBudget(SECONDS)).ended(SECONDS) == []


class Hanging:
    """A call that does not end, seen at times of the test's choice. The budget is 10 seconds."""

    def __init__(self, share_waited: float) -> None:
        self.now = 0.0
        self._looked = 0.0
        self._share = share_waited
        self._end = threading.Event()
        self._calls: OneShot[bool] = OneShot(StallBudget(10.0, lambda: self.now, self._waited))
        self._calls.start(lambda: self._end.wait(SECONDS))

    def _waited(self) -> float:
        """Of the time since the last look, that without a CPU."""
        looked, self._looked = self._looked, self.now
        return self._share * (self.now - looked)

    def watch(self) -> None:
        """Look once a second. Raises what `ended` raises."""
        try:
            while self.now < 1000:
                self.now += 1
                assert self._calls.ended(0) == []
        finally:
            self._end.set()


@pytest.mark.parametrize(
    ("share_waited", "error", "seconds"),
    [(0.0, EngineLost, 11), (0.5, EngineLost, 21), (1.0, EngineStarved, 101), (5.0, EngineStarved, 101)],
)
def test_a_call_that_exceeds_its_budget_costs_the_engine(
    share_waited: float, error: type[EngineLost], seconds: float
) -> None:
    hanging = Hanging(share_waited)
    with pytest.raises(
        EngineLost, match=r"a call (made no progress for 10|got too little CPU time)"
    ) as raised:
        hanging.watch()
    assert (type(raised.value), hanging.now) == (error, seconds)
