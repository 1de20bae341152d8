"""Whether this machine gives huge pages, and what lies in them."""

import mmap
import re
from pathlib import Path

_MADV_COLLAPSE = 25
_BYTES = 8 * 2**20


def in_huge_pages(pid: int | str = "self") -> int:
    """Bytes of a process."""
    found = re.search(r"AnonHugePages: *(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    return int(found[1]) * 1024 if found else 0


def kernel_gives_them() -> bool:
    """Asks for some, as no code of ours does."""
    switch = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if not switch.exists() or "[never]" in switch.read_text():
        return False
    with mmap.mmap(-1, _BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(bytes(_BYTES))
        try:
            memory.madvise(_MADV_COLLAPSE)
        except OSError:
            return False
        return True
