"""Uploads in temporary files without a name: large bodies that never enter this process's memory."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from frontend.errors import Overloaded
from ipc.memfd import write_parts

_RETRY_SECONDS = 10


class Spools:
    """The uploads that the server holds, and the room that they may take together."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._held = 0
        # One: with more, the event loop waits for a CPU while they hash and write.
        self.writer = ThreadPoolExecutor(1, "spool")

    def create(self) -> "Spool":
        """Raises OSError if the folder cannot be written to."""
        with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
            return Spool(self, os.dup(file.fileno()))

    def take(self, size: int) -> None:
        """Raises Overloaded unless there is room for `size` more bytes."""
        if self._held + size > self._limit:
            raise Overloaded(
                "the uploads of other requests take all the room; try again later", retry_after=_RETRY_SECONDS
            )
        self._held += size

    def give_back(self, size: int) -> None:
        self._held -= size


class Spool:
    """One upload: written once from its start to its end, then read by position. The caller closes it."""

    def __init__(self, spools: Spools, fd: int) -> None:
        self.fd = fd
        self._spools = spools
        self._size = 0
        self._hash = hashlib.blake2b(digest_size=16)
        self._closed = False

    def __len__(self) -> int:
        return self._size

    @property
    def digest(self) -> bytes:
        """Of the content."""
        return self._hash.digest()

    async def write(self, *parts: bytes) -> None:
        """Append the parts, in a thread: the disk may be slow. Raises Overloaded and OSError."""
        size = sum(map(len, parts))
        self._spools.take(size)
        start = self._size
        self._size += size
        loop, fd = asyncio.get_running_loop(), os.dup(self.fd)
        await loop.run_in_executor(self._spools.writer, self._append, fd, start, parts)

    def _append(self, fd: int, start: int, parts: Sequence[bytes]) -> None:
        try:
            for part in parts:
                self._hash.update(part)
            write_parts(fd, start, parts)
        finally:
            os.close(fd)

    def read(self) -> bytes:
        """All of it: for small ones."""
        return os.pread(self.fd, self._size, 0)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._spools.give_back(self._size)
            self._spools.writer.submit(os.close, self.fd)  # the kernel frees 200 MB in some 20 ms
