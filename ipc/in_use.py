"""Marks the folder of a model that a host has loaded, so that nobody removes it meanwhile.

The mark is a shared lock on the folder itself: the kernel takes it away with the process.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCKS = Path("/proc/locks")


class InUse(Exception):
    """A process has the folder loaded."""


def mark(folder: Path) -> int:
    """Mark the folder until the returned descriptor is closed; -1 where the file system has no locks."""
    fd = -1
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # somebody removes the folder, or it cannot be locked: loading will tell
        if fd >= 0:
            os.close(fd)
        return -1
    return fd


@contextmanager
def unused(folder: Path) -> Iterator[None]:
    """Keep everybody from marking the folder. Raises InUse, or OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUse from error
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
