"""What the kernel tells about memory. Linux only: /proc."""

import os
from collections.abc import Iterable

from ipc.kernel_files import read

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_OOM_KILLS = b"\noom_kill "


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, 0 if it is gone."""
    try:
        return int(read(f"/proc/{pid}/statm").split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def held_bytes(pids: Iterable[int | None]) -> int:
    """What processes of one model hold together: the pages they share, such as mapped weights, count once."""
    private = shared = 0
    for pid in pids:
        try:
            fields = read(f"/proc/{pid}/statm").split()
            resident, common = int(fields[1]), int(fields[2])
        except (OSError, IndexError):  # there is none, or it is gone
            continue
        private += resident - common
        shared = max(shared, common)
    return (private + shared) * _PAGE_BYTES


def oom_kills() -> int:
    """How often the kernel's OOM killer has struck since boot, in any control group; 0 if it does not say."""
    try:
        _, found, rest = read("/proc/vmstat").partition(_OOM_KILLS)
    except OSError:
        return 0
    return int(rest.split(maxsplit=1)[0]) if found else 0
