"""Huge pages for a process's own memory. Where the kernel has none to give, nothing happens.

For every token the engine reads all weights, which evicts every other address from the CPU's translation
cache (TLB), those of the frontend included, which wakes up next. In pages of 2 MiB instead of 4 KiB there are
512 times fewer addresses to translate.
"""

import ctypes
import errno
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

SECONDS = 5.0  # for a process that holds a model: 2 GiB at least, besides what malloc has put there already

_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_SMAPS = Path("/proc/self/smaps")
_PAGE = 2 * 2**20  # bytes, on x86-64
_PIECE = 4 * _PAGE  # moved by one call
_MADV_COLLAPSE = 25  # Linux 6.1
_NO_MEMORY = (errno.ENOMEM, errno.EBUSY)  # of the machine, of a control group
_MALLOC_VARIABLE = "GLIBC_TUNABLES"
_MALLOC_OPTION = "glibc.malloc.hugetlb"


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to a child's environment so that its malloc asks for huge pages for large allocations.

    Read by glibc 2.35 and later. A choice that was made already is kept.
    """
    tunables = environment.get(_MALLOC_VARIABLE, "")
    if _MALLOC_OPTION in tunables:
        return {}
    return {_MALLOC_VARIABLE: ":".join(filter(None, [tunables, f"{_MALLOC_OPTION}=1"]))}


def setting() -> str:
    """The machine's: always, madvise or never; empty if it has no huge pages."""
    try:
        return _SETTING.read_text().partition("[")[2].partition("]")[0]
    except OSError:
        return ""


def collapse(seconds: float) -> None:
    """Move what this process has allocated so far into huge pages, until `seconds` have passed.

    Takes 1 to 5 ms for each 2 MiB. Does nothing if the machine's setting is `never`, or if malloc was told to
    use none (`glibc.malloc.hugetlb=0`).
    """
    is_off = f"{_MALLOC_OPTION}=0" in os.environ.get(_MALLOC_VARIABLE, "")
    if is_off or setting() not in ("always", "madvise"):
        return
    give_up = time.monotonic() + seconds
    madvise = ctypes.CDLL(None, use_errno=True).madvise
    for start, end in _well_filled(_smaps()):
        for piece in range(start, end, _PIECE):
            if time.monotonic() > give_up:
                return
            size = ctypes.c_size_t(min(_PIECE, end - piece))
            failed = madvise(ctypes.c_void_p(piece), size, _MADV_COLLAPSE) != 0
            # Other errors concern this piece, or there is no such advice before Linux 6.1.
            if failed and ctypes.get_errno() in _NO_MEMORY:
                return


def _smaps() -> bytes:
    try:
        return _SMAPS.read_bytes()
    except OSError:
        return b""


def _well_filled(smaps: bytes) -> list[tuple[int, int]]:
    """The whole huge pages, begin and end, of memory that is writable and neither shared nor a file's.

    Memory of which less than half is resident, such as a thread's stack, would grow.
    """
    return [
        (start, end)
        for start, end, resident in _private(smaps)
        if start < end and 2 * resident >= end - start
    ]


def _private(smaps: bytes) -> Iterator[tuple[int, int, int]]:
    """Begin, end (in whole huge pages), and resident bytes."""
    start = end = 0
    for line in smaps.split(b"\n"):
        first, *fields = line.split(maxsplit=5) or [b""]
        if first == b"Rss:":
            yield start, end, int(fields[0]) * 1024
        elif not first.endswith(b":") and len(fields) >= 4:  # the first line of a mapping
            start = end = 0
            permissions, _, _, inode, *name = fields
            if permissions == b"rw-p" and inode == b"0" and name != [b"[stack]"]:
                begin, finish = (int(address, 16) for address in first.split(b"-"))
                start, end = -(-begin // _PAGE) * _PAGE, finish // _PAGE * _PAGE
