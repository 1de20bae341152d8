"""Blocking calls in threads: their results, their errors, and the time they may take."""

import threading
import time
from collections.abc import Callable

import pytest

from host.engines.base import EngineLost
from host.one_shot import OneShot

SECONDS = 30.0


def test_a_call_ends_with_its_result() -> None:
    calls: OneShot[int] = OneShot(SECONDS)
    started = calls.start(lambda: 7)
    (ended,) = calls.ended(SECONDS)
    assert (ended, ended.result(), calls.running) == (started, 7, 0)


def test_what_a_call_raises_is_in_its_future() -> None:
    calls: OneShot[int] = OneShot(SECONDS)
    calls.start(lambda: 1 // 0)
    (ended,) = calls.ended(SECONDS)
    assert isinstance(ended.exception(), ZeroDivisionError)
    assert calls.free


def test_the_caller_goes_on_while_calls_run_in_each_lane() -> None:
    calls: OneShot[str] = OneShot(SECONDS, lanes=2)
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
    calls: OneShot[None] = OneShot(SECONDS)
    calls.start(lambda: time.sleep(0.01))
    began = time.monotonic()
    assert calls.ended(SECONDS)
    assert time.monotonic() - began < SECONDS / 2


def test_nothing_ends_where_nothing_runs() -> None:
    assert OneShot[None](SECONDS).ended(SECONDS) == []


@pytest.mark.parametrize(("seconds", "lost"), [(9.0, False), (11.0, True)])
def test_a_call_that_exceeds_its_budget_costs_the_engine(seconds: float, lost: bool) -> None:
    now = 0.0

    def clock() -> float:
        return now

    calls: OneShot[bool] = OneShot(10.0, clock=clock)
    end = threading.Event()
    calls.start(lambda: end.wait(SECONDS))
    now = seconds
    ended: Callable[[], object] = lambda: calls.ended(0)  # noqa: E731
    if lost:
        with pytest.raises(EngineLost, match="a call made no progress for 10 seconds"):
            ended()
    else:
        assert ended() == []
    end.set()
