"""Huge pages for a process's own memory. Where the kernel has none to give, nothing happens.

For every token the engine reads all weights of the model. That leaves no translation of an address in the
CPU's caches, neither for the weights nor for the frontend, which wakes up then. In pages of 2 MiB there are
512 times fewer of them. /sys/kernel/mm/transparent_hugepage/enabled is the machine's switch: `never` is
obeyed.
"""

import ctypes
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_MAPS = Path("/proc/self/maps")
_PAGE = 2 * 2**20  # bytes, on x86-64
_PIECE = 32 * _PAGE  # moved by one call
_MADV_COLLAPSE = 25  # Linux 6.1
_MALLOC_VARIABLE = "GLIBC_TUNABLES"
_MALLOC_OPTION = "glibc.malloc.hugetlb"


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What to add to a child's environment, so that what it allocates lies in huge pages from the start.

    Read by glibc 2.35 and later. A choice that was made already is kept.
    """
    tunables = environment.get(_MALLOC_VARIABLE, "")
    if _MALLOC_OPTION in tunables:
        return {}
    return {_MALLOC_VARIABLE: ":".join(filter(None, [tunables, f"{_MALLOC_OPTION}=1"]))}


def collapse(seconds: float) -> None:
    """Move what this process has allocated so far into huge pages, until `seconds` have passed.

    Takes 1 to 5 ms for each 2 MiB. What is allocated later stays where it is.
    """
    if not are_allowed():
        return
    give_up = time.monotonic() + seconds
    madvise = ctypes.CDLL(None).madvise
    for start, end in list(_private(_MAPS.read_text())):
        for piece in range(start, end, _PIECE):
            if time.monotonic() > give_up:
                return
            # Refused for pages that nothing was written to, and before Linux 6.1: the rest goes on.
            madvise(ctypes.c_void_p(piece), ctypes.c_size_t(min(_PIECE, end - piece)), _MADV_COLLAPSE)


def are_allowed() -> bool:
    """By the machine's switch."""
    try:
        return "[never]" not in _SWITCH.read_text()
    except OSError:
        return False


def _private(maps: str) -> Iterator[tuple[int, int]]:
    """The whole huge pages, begin and end, of memory that is writable and neither shared nor a file's."""
    for line in maps.splitlines():
        addresses, permissions, _, _, inode, *name = line.split(maxsplit=5)
        if permissions != "rw-p" or inode != "0" or name == ["[stack]"]:
            continue
        start, end = (int(address, 16) for address in addresses.split("-"))
        start, end = -(-start // _PAGE) * _PAGE, end // _PAGE * _PAGE
        if start < end:
            yield start, end
