"""How much of the machine others used meanwhile: the first thing to look at when figures jump."""

import os
import time

import psutil

_QUIET = 0.03  # more than this makes ratios jump


def warning(share: float) -> str | None:
    """What to print beside the figures if others used more than a negligible share of the machine."""
    if share <= _QUIET:
        return None
    return f"Other processes used {share:.0%} of this machine: do not rely on these figures."


class Noise:
    """Counts from its creation."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._busy = _machine_seconds()
        self._ours = _own_seconds()

    def share(self) -> float:
        """Others' share of all cores since then, 0 to 1, what a hypervisor withheld included.

        Of our child processes only those that have ended, and were waited for, count as ours.
        """
        capacity = (time.monotonic() - self._started) * (os.cpu_count() or 1)
        others = (_machine_seconds() - self._busy) - (_own_seconds() - self._ours)
        return min(1.0, max(0.0, others / capacity))


def _machine_seconds() -> float:
    """Seconds that all cores spent at work since the machine began."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _own_seconds() -> float:
    """Seconds that this process and the children it waited for spent at work."""
    return sum(os.times()[:4])
