"""Blocking native calls that release the GIL, in threads beside the loop."""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from host.engines.base import EngineLost

T = TypeVar("T")


class OneShot(Generic[T]):
    """Runs calls of one engine, at most `lanes` at a time, each lane in a thread of its own.

    A call cannot be interrupted: an engine cuts its work into pieces, and drops what was cancelled between
    them. The loop keeps turning while a call runs, so the progress page cannot show that it hangs: each call
    has a stall budget here.
    """

    def __init__(
        self, stall_seconds: float, lanes: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stall_seconds = stall_seconds
        self._lanes = lanes
        self._clock = clock
        self._threads = ThreadPoolExecutor(lanes, "one-shot")
        self._began: dict[Future[T], float] = {}

    @property
    def running(self) -> int:
        """Calls that were started and not yet returned by `ended`."""
        return len(self._began)

    @property
    def free(self) -> bool:
        """Whether another call may be started."""
        return len(self._began) < self._lanes

    def start(self, call: Callable[[], T]) -> Future[T]:
        """Begin a call. The future identifies it in what `ended` returns."""
        assert self.free, "at most one call per lane"
        future = self._threads.submit(call)
        self._began[future] = self._clock()
        return future

    def ended(self, seconds: float) -> list[Future[T]]:
        """The calls that have ended since, as soon as there is one, after at most `seconds`.

        Raises EngineLost if one exceeds the stall budget.
        """
        done = wait(self._began, seconds, FIRST_COMPLETED).done if self._began else ()
        for future in done:
            del self._began[future]
        if any(self._clock() - began > self._stall_seconds for began in self._began.values()):
            raise EngineLost(f"a call made no progress for {self._stall_seconds:g} seconds")
        return list(done)
