"""How long native code in a thread beside the loop may go without progress."""

import time
from collections.abc import Callable
from typing import NamedTuple

from host.engines.base import EngineLost, EngineStarved
from ipc.cpu_wait import PATIENCE, CpuWait

_SAMPLE_SECONDS = 0.5  # between two looks at how long the process waited for a CPU


class Moment(NamedTuple):
    """Seconds of the clock, and how many this process had waited for a CPU by then."""

    clock: float
    waited: float


class StallBudget:
    """A budget in seconds for which this process had a CPU."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        cpu_wait: Callable[[], float] | None = None,
    ) -> None:
        """`cpu_wait` returns the seconds since its last call for which this process had no CPU though it
        needed one; by default, as the kernel reports them."""
        self._seconds = seconds
        self._clock = clock
        self._cpu_wait = cpu_wait or CpuWait().since_last
        self._sampled = clock()
        self._waited = 0.0  # up to `_sampled`

    def now(self) -> Moment:
        """May be called in any thread."""
        return Moment(self._clock(), self._waited)

    def check(self, since: Moment, what: str) -> None:
        """`what` says what was missing since then, as in "no token came". Call it in one thread, often.

        Raises EngineLost if that exceeds the budget; EngineStarved if there was too little CPU for long.
        """
        now = self._clock()
        if now - self._sampled >= _SAMPLE_SECONDS:
            self._waited += min(self._cpu_wait(), now - self._sampled)
            self._sampled = now
        elapsed = now - since.clock
        if elapsed - (self._waited - since.waited) > self._seconds:
            raise EngineLost(f"{what} for {self._seconds:g} seconds")
        if elapsed > PATIENCE * self._seconds:
            raise EngineStarved(f"{what} for {elapsed:.0f} seconds, with too little CPU time")
