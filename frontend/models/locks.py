"""Locks of a store, one for each name, without a file for each: byte ranges of one file.

A lock belongs to its open file: threads exclude each other too, and those of a killed process are freed.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = ".lock"
_FLOCK = "hh4xqqi4x"  # struct flock of 64-bit Linux: type, whence, start, length, pid


class Busy(Exception):
    """Another process, or thread, holds the lock."""


@contextmanager
def locked(root: Path, name: str, on_wait: Callable[[], object] | None = None) -> Iterator[None]:
    """Hold the lock `name` of the store, and wait for it if need be. Raises OSError."""
    with _opened(root) as fd:
        try:
            _lock(fd, name, fcntl.F_OFD_SETLK)
        except Busy:
            if on_wait:
                on_wait()
            _lock(fd, name, fcntl.F_OFD_SETLKW)
        yield


@contextmanager
def locked_at_once(root: Path, name: str) -> Iterator[None]:
    """The same without waiting. Raises Busy, or OSError."""
    with _opened(root) as fd:
        _lock(fd, name, fcntl.F_OFD_SETLK)
        yield


@contextmanager
def _opened(root: Path) -> Iterator[int]:
    fd = os.open(root / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield fd
    finally:
        os.close(fd)  # releases the lock


def _lock(fd: int, name: str, command: int) -> None:
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
    try:
        fcntl.fcntl(fd, command, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise Busy from error
        raise


def is_held(root: Path, name: str) -> bool:
    """Whether somebody holds the lock now."""
    with contextlib.suppress(OSError):
        try:
            with locked_at_once(root, name):
                return False
        except Busy:
            return True
    return False
