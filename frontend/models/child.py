"""Runs another program to its end and reads its output by the line, never leaving it behind."""

import subprocess
import sys
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from frontend.supervision.death import signal_name

_LINES_KEPT = 200


class Ended(NamedTuple):
    """How a child ended: its exit status, or minus the signal, and its last lines, stderr included."""

    status: int
    lines: list[str]

    @property
    def last_words(self) -> str:
        """The line that most likely says what went wrong."""
        if self.status < 0:
            return f"died of {signal_name(-self.status)}"
        return next((line.strip() for line in reversed(self.lines) if line.strip()), f"status {self.status}")


def run_module(module: str, arguments: list[str], on_line: Callable[[str], None] | None = None) -> Ended:
    """Run `python -m module`. If this is interrupted, the child is killed first.

    `-P` keeps a file of the same name in the current folder from running in the module's place.
    """
    lines: deque[str] = deque(maxlen=_LINES_KEPT)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert child.stdout is not None
    try:
        for line in child.stdout:
            lines.append(line.rstrip())
            if on_line:
                on_line(lines[-1])
        return Ended(child.wait(), list(lines))
    finally:
        child.kill()  # a no-op on a child that was waited for
        child.wait()
        child.stdout.close()
