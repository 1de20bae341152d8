"""Marks the folder of a model that a host has loaded, so that nobody removes it meanwhile.

The mark is a shared lock on the folder itself: the kernel takes it away with the process.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCKS = Path("/proc/locks")
# NFS wants files that are open for writing, which folders never are.
_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
_WAIT_SECONDS = 2.0
_POLL_SECONDS = 0.02


class InUse(Exception):
    """A process has the folder loaded."""


def mark(folder: Path) -> int:
    """Mark the folder until the returned descriptor is closed; -1 where the file system has no locks."""
    fd = -1
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        _share(fd)
    except OSError:  # somebody removes the folder, or it cannot be locked: loading will tell
        if fd >= 0:
            os.close(fd)
        return -1
    return fd


def _share(fd: int) -> None:
    """Wait a moment for who looks whether the folder is in use, and may leave it. Raises OSError."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_SECONDS)


@contextmanager
def unused(folder: Path) -> Iterator[None]:
    """Keep everybody from marking the folder, where its file system has locks. Raises InUse, or OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUse from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        yield
    finally:
        os.close(fd)


def users_of(folder: Path) -> list[int]:
    """The ids of the processes that have marked the folder, as far as this process can see them."""
    try:
        inode = folder.stat().st_ino
        lines = _LOCKS.read_text().splitlines()
    except OSError:
        return []
    # 1: FLOCK  ADVISORY  READ 26828 fe:01:1234567 0 EOF
    words = [line.split() for line in lines if " FLOCK " in line and "->" not in line]
    users = {int(each[4]) for each in words if len(each) > 5 and each[5].endswith(f":{inode}")}
    return sorted(user for user in users if user > 0)
