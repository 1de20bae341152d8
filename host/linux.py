"""What a host asks of the Linux kernel about itself: death signal, limits, affinity."""

import contextlib
import ctypes
import os
import resource
import signal
from collections.abc import Iterable
from pathlib import Path

# The limit of a control group, as a container sees its own: of the second version, and of the first.
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = 500  # of 1000: a host goes before the frontend and before most of the machine


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that spawned it ends. Raises OSError if it refuses.

    A parent that died before this call is not noticed: compare os.getppid() afterwards.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def forbid_core_dumps() -> None:
    """A crash must be quick and must not write gigabytes of weights to disk."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def volunteer_for_oom_killer() -> None:
    """Raise the OOM score. Kept as it is where /proc is not writable."""
    try:
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
    except OSError:
        return


def restrict_to_cpus(cpus: Iterable[int]) -> None:
    """Set the affinity; none given means all. Raises OSError if no such CPU may be used."""
    chosen = set(cpus)
    if chosen:
        os.sched_setaffinity(0, chosen)


def memory_bytes() -> int:
    """The memory of the machine or, if less, of the container."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for path in map(Path, _MEMORY_LIMITS):
        with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
            limits.append(int(path.read_text()))
    return min(limits)
