"""Telling a host that works long from one that hangs, by the progress page and the frontend's own ticks."""

from ipc.progress import Phase, Progress

STARTUP_SECONDS = 60.0  # from the spawn to the first write on the page: imports on a cold disk
TICK_SECONDS = 0.25


class Watchdog:
    """Counts how long a page has stood still, over one host incarnation.

    Time is counted in ticks of the caller, each capped at twice TICK_SECONDS, so that a suspended or
    overloaded machine, on which the frontend did not tick either, kills nobody.
    """

    def __init__(self, caps: dict[Phase, float]) -> None:
        """`caps` bounds the budgets, in seconds, that a host may give itself, by phase."""
        self._caps = caps
        self._beat = -1
        self._stood_still = 0.0

    def stalled(self, progress: Progress | None, elapsed: float) -> bool:
        """Whether the host is past its budget, `elapsed` seconds after the previous call.

        `progress` is None where the page cannot be read because its writer stopped in mid-write.
        """
        if progress is not None and progress.beat != self._beat:
            self._beat = progress.beat
            self._stood_still = 0.0
            return False
        self._stood_still += min(elapsed, 2 * TICK_SECONDS)
        return self._stood_still > self._budget(progress)

    def _budget(self, progress: Progress | None) -> float:
        if progress is None:
            return min(self._caps.values())
        if progress.phase is Phase.STARTING:
            return STARTUP_SECONDS
        return min(progress.budget, self._caps[progress.phase])
