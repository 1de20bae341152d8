"""How much of the machine other processes used during a run: the first thing to check if figures vary."""

import os
import time

import psutil

_QUIET = 0.03  # with more than this, ratios vary widely


def warning(share: float) -> str | None:
    """What to print beside the figures if others used more than a negligible share of the machine."""
    if share <= _QUIET:
        return None
    return f"Other processes used {share:.0%} of this machine: do not rely on these figures."


class Noise:
    """Measures from its creation on."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._busy = _machine_seconds()
        self._ours = _own_seconds()

    def share(self) -> float:
        """The share of all cores that other processes have used, 0 to 1, with what a hypervisor took.

        Child processes count as ours only once they have ended and been waited for.
        """
        capacity = (time.monotonic() - self._started) * (os.cpu_count() or 1)
        others = (_machine_seconds() - self._busy) - (_own_seconds() - self._ours)
        return min(1.0, max(0.0, others / capacity))


def _machine_seconds() -> float:
    """CPU seconds of all cores since the machine started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _own_seconds() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    return sum(os.times()[:4])
