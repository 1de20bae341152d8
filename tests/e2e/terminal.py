"""A command that runs in a terminal, as a person would use it."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Self

# The terminal becomes the one that controls the command, so that Ctrl-C reaches it as a signal.
_IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
CTRL_C, CTRL_D, ENTER = b"\x03", b"\x04", b"\r"


class Terminal:
    """A context manager, which ends the command."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, *command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env=os.environ | {"TERM": "dumb", "NO_COLOR": "1"} | environment,
        )
        os.close(slave)
        self._seen = b""

    def send(self, keys: str | bytes) -> None:
        os.write(self._master, keys.encode() if isinstance(keys, str) else keys)

    def enter(self, line: str) -> None:
        self.send(line.encode() + ENTER)

    def read_until(self, wanted: str, seconds: float = 60.0) -> str:
        """What was shown up to `wanted`, and it."""
        end = time.monotonic() + seconds
        while (index := self._seen.find(wanted.encode())) < 0:
            assert self._read(end - time.monotonic()), f"{wanted!r} did not appear in {self._seen!r}"
        index += len(wanted.encode())
        shown, self._seen = self._seen[:index], self._seen[index:]
        return shown.decode("utf-8", "replace").replace("\r\n", "\n")

    def wait(self, seconds: float = 30.0) -> int:
        """The exit status."""
        return self._process.wait(seconds)

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, seconds))
        try:
            block = os.read(self._master, 65_536) if ready else b""
        except OSError:  # the command has ended
            return False
        self._seen += block
        return bool(block)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)
