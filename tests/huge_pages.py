"""Whether this machine gives huge pages, and what lies in them."""

import contextlib
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from ipc.huge_pages import setting

_MADV_COLLAPSE = 25
_BYTES = 8 * 2**20


def in_huge_pages(pid: int | str = "self") -> int:
    """Bytes of a process."""
    found = re.search(r"AnonHugePages: *(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    return int(found[1]) * 1024 if found else 0


@contextlib.contextmanager
def small_pages(size: int) -> Iterator[mmap.mmap]:
    """Memory that was filled in small pages, whatever the machine's setting is."""
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        memory.write(b"x" * size)
        memory.madvise(mmap.MADV_HUGEPAGE)
        yield memory


def kernel_gives_them() -> bool:
    """Asks for some, as no code of ours does."""
    if setting() not in ("always", "madvise"):
        return False
    with small_pages(_BYTES) as memory:
        try:
            memory.madvise(_MADV_COLLAPSE)
        except OSError:
            return False
        return True
