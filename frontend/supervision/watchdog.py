"""Telling a host that works long from one that hangs, by the progress page and the frontend's own ticks."""

from collections.abc import Callable
from enum import Enum

from ipc.cpu_wait import PATIENCE
from ipc.progress import Phase, Progress

STARTUP_SECONDS = 60.0  # from the spawn to the first write on the page: imports on a cold disk
TICK_SECONDS = 0.25


class Stall(Enum):
    """Why a host that makes no progress must be killed."""

    HUNG = "it had the CPU for all of its budget"
    STARVED = "it had too little CPU for too long, so that it may be innocent"


class Watchdog:
    """Counts how long a page has stood still, over one host incarnation.

    Time is counted in ticks of the caller, each capped at twice TICK_SECONDS, so that a suspended or
    overloaded machine, on which the frontend did not tick either, kills nobody. The time for which the host
    waited for a CPU does not count towards its budget.
    """

    def __init__(self, caps: dict[Phase, float], cpu_wait: Callable[[], float]) -> None:
        """`caps` bounds the budgets, in seconds, that a host may give itself, by phase. `cpu_wait` returns
        the seconds since its last call for which the host had no CPU though it needed one."""
        self._caps = caps
        self._cpu_wait = cpu_wait
        self._beat = -1
        self._stood_still = 0.0
        self._waited = 0.0  # of that time, for a CPU

    def stalled(self, progress: Progress | None, elapsed: float) -> Stall | None:
        """Whether the host is past its budget, `elapsed` seconds after the previous call.

        `progress` is None where the page cannot be read because its writer stopped in mid-write.
        """
        if progress is not None and progress.beat != self._beat:
            self._beat = progress.beat
            self._stood_still = self._waited = 0.0
            return None
        counted = min(elapsed, 2 * TICK_SECONDS)
        self._stood_still += counted
        self._waited += min(self._cpu_wait(), counted)
        budget = self._budget(progress)
        if self._stood_still - self._waited > budget:
            return Stall.HUNG
        return Stall.STARVED if self._stood_still > PATIENCE * budget else None

    def _budget(self, progress: Progress | None) -> float:
        if progress is None:
            return min(self._caps.values())
        if progress.phase is Phase.STARTING:
            return STARTUP_SECONDS
        return min(progress.budget, self._caps[progress.phase])
