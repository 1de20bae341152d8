"""Blocking native calls that release the GIL, in threads beside the loop."""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from host.engines.base import EngineLost, EngineStarved
from ipc.cpu_wait import PATIENCE, CpuWait

_SAMPLE_SECONDS = 0.5  # between two looks at how long the process waited for a CPU

T = TypeVar("T")


class OneShot(Generic[T]):
    """Runs calls of one engine, at most `lanes` at a time, each lane in a thread of its own.

    A call cannot be interrupted: an engine cuts its work into pieces, and drops what was cancelled between
    them. The loop keeps turning while a call runs, so the progress page cannot show that it hangs: each call
    has a stall budget here. The time for which this process waited for a CPU does not count towards it.
    """

    def __init__(
        self,
        stall_seconds: float,
        lanes: int = 1,
        clock: Callable[[], float] = time.monotonic,
        cpu_wait: Callable[[], float] | None = None,
    ) -> None:
        """`cpu_wait` returns the seconds since its last call for which this process had no CPU though it
        needed one; by default, as the kernel reports them."""
        self._stall_seconds = stall_seconds
        self._lanes = lanes
        self._clock = clock
        self._cpu_wait = cpu_wait or CpuWait().since_last
        self._sampled = clock()
        self._waited = 0.0  # for a CPU, up to `_sampled`
        self._threads = ThreadPoolExecutor(lanes, "one-shot")
        self._began: dict[Future[T], tuple[float, float]] = {}  # when, and what `_waited` was then

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
        self._began[future] = (self._clock(), self._waited)
        return future

    def ended(self, seconds: float) -> list[Future[T]]:
        """The calls that have ended since, as soon as there is one, after at most `seconds`.

        Raises EngineLost if one exceeds the stall budget; EngineStarved if it had too little CPU for long.
        """
        done = wait(self._began, seconds, FIRST_COMPLETED).done if self._began else ()
        for future in done:
            del self._began[future]
        self._check_budgets()
        return list(done)

    def _check_budgets(self) -> None:
        now = self._clock()
        if now - self._sampled >= _SAMPLE_SECONDS:
            self._waited += min(self._cpu_wait(), now - self._sampled)
            self._sampled = now
        for began, waited in self._began.values():
            if now - began - (self._waited - waited) > self._stall_seconds:
                raise EngineLost(f"a call made no progress for {self._stall_seconds:g} seconds")
            if now - began > PATIENCE * self._stall_seconds:
                raise EngineStarved(f"a call got too little CPU time for {now - began:.0f} seconds")
