"""Blocking native calls that release the GIL, in threads beside the loop."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from host.stall import Moment, StallBudget

T = TypeVar("T")


class OneShot(Generic[T]):
    """Runs calls of one engine, at most `lanes` at a time, each lane in a thread of its own.

    A call cannot be interrupted: an engine cuts its work into pieces, and drops what was cancelled between
    them. The loop keeps turning while a call runs, so the progress page cannot show that it hangs: each call
    has a stall budget here. The time for which this process waited for a CPU does not count towards it.
    """

    def __init__(self, budget: StallBudget, lanes: int = 1) -> None:
        self._budget = budget
        self._lanes = lanes
        self._threads = ThreadPoolExecutor(lanes, "one-shot")
        self._began: dict[Future[T], Moment] = {}

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
        self._began[future] = self._budget.now()
        return future

    def ended(self, seconds: float) -> list[Future[T]]:
        """The calls that have ended since, as soon as there is one, after at most `seconds`.

        Raises EngineLost if one exceeds the stall budget; EngineStarved if it had too little CPU for long.
        """
        done = wait(self._began, seconds, FIRST_COMPLETED).done if self._began else ()
        for future in done:
            del self._began[future]
        for began in self._began.values():
            self._budget.check(began, "a call made no progress")
        return list(done)
