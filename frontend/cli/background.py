"""Servers in the background: starts one for an address, remembers it, finds it again, and stops it.

servers/PORT.json   the process, its address, log and command, while it runs
servers/PORT.lock   held while one is started, so that two commands start one server
logs/PORT.log       what it wrote
"""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from frontend.cli.state import state_folder

_COMMAND = [sys.executable, "-P", "-m", "frontend.cli"]
_MAX_LOG_BYTES = 20 * 1024**2  # from which size on a log is put aside at the next start
_LAST_LINES = 5
_POLL_SECONDS = 0.05


class Record(msgspec.Struct, frozen=True):
    """A server that was started in the background."""

    pid: int
    started: int  # of the process, in clock ticks since boot: tells it from a later one with its pid
    url: str
    log: str
    command: list[str]

    @property
    def is_running(self) -> bool:
        return start_time(self.pid) == self.started


class Background:
    """The background server of one port. `folder` is the state folder."""

    def __init__(self, port: int, folder: Path | None = None) -> None:
        folder = folder or state_folder()
        self._record = folder / "servers" / f"{port}.json"
        self._lock = folder / "servers" / f"{port}.lock"
        self.log = folder / "logs" / f"{port}.log"

    def find(self) -> Record | None:
        """The running server, if it was started here."""
        try:
            record = msgspec.json.decode(self._record.read_bytes(), type=Record)
        except (OSError, ValueError, RecursionError):
            return None
        return record if record.is_running else None

    @contextmanager
    def starting(self) -> Iterator[None]:
        """Held while it is decided whether to start a server, and until it is remembered."""
        self._lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._lock.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def start(self, arguments: Sequence[str], url: str) -> "subprocess.Popen[bytes]":
        """Start `nacelle` with `arguments`, detached from this terminal. Raises ClickException."""
        command = [*_COMMAND, *arguments]
        try:
            with self._opened_log() as log:
                process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError as error:
            raise click.ClickException(f"cannot start a server: {error}") from error
        record = Record(process.pid, start_time(process.pid) or 0, url, str(self.log), command)
        partial = self._record.with_suffix(f".{process.pid}")
        partial.write_bytes(msgspec.json.encode(record))
        partial.rename(self._record)
        return process

    def stop(self, record: Record, seconds: float) -> bool:
        """End the server as Ctrl-C would. Returns whether it was gone within `seconds`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(record.pid, signal.SIGTERM)
        gone = wait_until(lambda: not record.is_running, seconds)
        if gone:
            self._record.unlink(missing_ok=True)
        return gone

    def _opened_log(self) -> BinaryIO:
        self.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > _MAX_LOG_BYTES:
                self.log.rename(self.log.with_suffix(".log.1"))
        self.log.touch(mode=0o600)
        return self.log.open("ab")


def start_time(pid: int) -> int | None:
    """When a process was started, in clock ticks since boot; None if it does not run."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in "ZX" else int(fields[18])


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll until `condition` is true; False after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def last_lines(log: Path, since: int = 0, count: int = _LAST_LINES) -> list[str]:
    """The last lines of what was written to a log after its first `since` bytes."""
    try:
        with log.open("rb") as file:
            file.seek(since)
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except OSError:
        return []
