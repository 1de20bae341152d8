"""The private folder of one server's sockets, and the removal of those that killed servers left."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

_PREFIX = "nacelle-"
_LOCK = "lock"
_NAME_BYTES = 40  # our folder's and a socket's names below the base
_IPC_PATH_LIMIT = 107


def base_folder(environment: dict[str, str]) -> Path:
    """Where the folder goes: XDG_RUNTIME_DIR, else the temp directory, else /tmp if paths get too long."""
    for name in ("XDG_RUNTIME_DIR", "TMPDIR"):
        folder = Path(environment.get(name, ""))
        if (
            folder.is_absolute()
            and len(os.fsencode(folder)) + _NAME_BYTES <= _IPC_PATH_LIMIT
            and os.access(folder, os.W_OK)
        ):
            return folder
    return Path("/tmp")  # noqa: S108  the folder below is made by mkdtemp with mode 0700


class RuntimeDir:
    """A 0700 folder that is ours while we hold the lock in it."""

    def __init__(self, find_base: Callable[[], Path]) -> None:
        self._find_base = find_base
        base = find_base()
        sweep(base)
        self.path, self._lock = _make(base)

    def socket_path(self, name: str) -> Path:
        """Where a socket can be bound. Raises OSError.

        The folder may be gone: logind removes XDG_RUNTIME_DIR at the last logout, cleaners what is old.
        """
        if not self.path.is_dir():
            self._lock.close()
            self.path, self._lock = _make(self._find_base())
        return self.path / name

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _make(base: Path) -> tuple[Path, IO[str]]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
        lock = (path / _LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (path / _LOCK).exists():  # else a server that started at the same moment swept it: once more
            return path, lock
        lock.close()


def sweep(base: Path) -> None:
    """Remove the folders of servers that are gone: those whose lock nobody holds."""
    for folder in base.glob(_PREFIX + "*"):
        try:
            if folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # alive, or just being made
