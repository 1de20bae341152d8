"""What the kernel tells about memory. Linux only: /proc."""

import os
from collections.abc import Iterable
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError):
        return 0


def held_bytes(pids: Iterable[int | None]) -> int:
    """What processes of one model hold together: the pages they share, such as mapped weights, count once."""
    private = shared = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/statm").read_text().split()
            resident, common = int(fields[1]), int(fields[2])
        except (OSError, IndexError):  # there is none, or it is gone
            continue
        private += resident - common
        shared = max(shared, common)
    return (private + shared) * _PAGE_BYTES


def oom_kills() -> int:
    """How often the kernel's OOM killer has struck since boot, in any control group; 0 if it does not say."""
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except OSError:
        pass
    return 0
