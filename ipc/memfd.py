"""Anonymous shared memory: the one place that calls memfd_create. Linux only."""

import fcntl
import mmap
import os

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


def create_sealed(label: str, size: int) -> int:
    """A new memory file of `size` bytes that nobody can resize. It has no name in any file system.

    Returns the descriptor, which is not inherited unless passed on. `label` shows in /proc/PID/maps.
    """
    fd = os.memfd_create(label, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd


def map_shared(fd: int) -> mmap.mmap:
    """Map the whole file at `fd`. The mapping outlives the descriptor."""
    return mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED)
