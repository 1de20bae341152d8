"""The folder of files and batches: contents of files, inputs that batches keep, and locks.

batches.sqlite      what is known of files, batches and their lines
files/ID            contents; of live batches also the answers so far
inputs/BATCH_ID     the input of a live batch, a second name of the file it was made from
locks/BATCH_ID      locked by the server that runs the batch; the kernel unlocks it when that server ends
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Sequence, Set
from pathlib import Path
from typing import BinaryIO

from frontend.batches.input import Place
from frontend.config_values import expanded

DATABASE = "batches.sqlite"
_FILES, _INPUTS, _LOCKS = "files", "inputs", "locks"
_COPY_BYTES = 16 * 1024**2


def file_store_folder(configured: str | None) -> Path:
    """The configured folder, which need not exist, or one in the user's data folder. Raises ConfigError."""
    if configured is not None:
        return expanded(configured, "file_store")
    import platformdirs  # slow to import, and not needed where the folder is configured

    return Path(platformdirs.user_data_dir("nacelle", appauthor=False)) / "batches"


class InputLost(Exception):
    """The input that a batch kept is gone, or not what it was. Says which file, within the folder."""

    def __init__(self, batch_id: str, what: str) -> None:
        super().__init__(f"{_INPUTS}/{batch_id} in the folder of the server's files {what}")


class Folder:
    """Blocking. All methods raise OSError. Everything is private to the server's user."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def is_used(self) -> bool:
        return os.access(self.root / DATABASE, os.R_OK)

    def make(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in (_FILES, _INPUTS, _LOCKS):
            (self.root / name).mkdir(exist_ok=True, mode=0o700)

    def content(self, file_id: str) -> Path:
        return self.root / _FILES / file_id

    def input(self, batch_id: str) -> Path:
        return self.root / _INPUTS / batch_id

    def store(self, file_id: str, source: int, size: int) -> None:
        """Copy `size` bytes of the descriptor `source`; the file is on the disk afterwards, or absent."""
        path = self.content(file_id)
        target = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            done = 0
            while done < size:
                copied = os.sendfile(target, source, done, min(_COPY_BYTES, size - done))
                if not copied:
                    raise OSError("the upload is shorter than it was")
                done += copied
            os.fsync(target)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(target)

    def keep_input(self, batch_id: str, file_id: str) -> None:
        """Keep the input of a batch even if its file is deleted."""
        os.link(self.content(file_id), self.input(batch_id))

    def write(self, file_id: str, at: int, data: bytes) -> None:
        """Write into a file from byte `at` on, which it must have reached; at byte 0 it need not exist."""
        target = os.open(self.content(file_id), os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            if os.fstat(target).st_size < at:
                raise OSError(errno.EIO, f"{file_id} has lost what it had")  # a hole would be read as zeros
            done = 0
            while done < len(data):
                done += os.pwrite(target, data[done:], at + done)
        finally:
            os.close(target)

    def complete(self, file_id: str, size: int) -> None:
        """Cut a file to its final size and bring it to the disk; an empty one is removed."""
        path = self.content(file_id)
        if not size:
            path.unlink(missing_ok=True)
            return
        with path.open("r+b") as file:
            file.truncate(size)
            os.fsync(file.fileno())

    def size(self, file_id: str) -> int:
        """In bytes; 0 if there is none."""
        try:
            return self.content(file_id).stat().st_size
        except FileNotFoundError:
            return 0

    def open_input(self, batch_id: str) -> BinaryIO:
        """Raises InputLost."""
        try:
            return self.input(batch_id).open("rb")
        except FileNotFoundError:
            if not self.is_used:  # then all is gone, perhaps for a while
                raise
            raise InputLost(batch_id, "is gone") from None

    def read_input(self, batch_id: str, places: Sequence[Place]) -> list[bytes]:
        """The lines at these places. Raises InputLost."""
        with self.open_input(batch_id) as file:
            lines = [os.pread(file.fileno(), place.length, place.begin) for place in places]
        if any(len(line) < place.length for line, place in zip(lines, places, strict=True)):
            raise InputLost(batch_id, "is shorter than it was")
        return lines

    def forget_input(self, batch_id: str) -> None:
        self.input(batch_id).unlink(missing_ok=True)

    def remove(self, file_id: str) -> None:
        self.content(file_id).unlink(missing_ok=True)

    def remove_unknown(self, known: Set[str], older_than: float) -> None:
        """Remove contents and inputs whose names are not `known`, unless they are newer (Unix seconds)."""
        for name in (_FILES, _INPUTS):
            for path in (self.root / name).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if path.name not in known and path.stat().st_ctime < older_than:
                        path.unlink()

    def lock(self, batch_id: str) -> int | None:
        """A descriptor that holds the batch until it is closed; None: another server has it."""
        descriptor = os.open(self.root / _LOCKS / batch_id, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def forget_lock(self, batch_id: str) -> None:
        (self.root / _LOCKS / batch_id).unlink(missing_ok=True)
