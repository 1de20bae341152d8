"""Runs a Python module in a child process, reads its output line by line, and never leaves it running."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from frontend.supervision.death import signal_name

_LINES_KEPT = 200


class Ended(NamedTuple):
    """A child's exit status, or minus the signal that ended it, and its last lines, stderr included."""

    status: int
    lines: list[str]

    @property
    def last_words(self) -> str:
        """The line that most likely explains a failure."""
        if self.status < 0:
            return f"died of {signal_name(-self.status)}"
        return next((line.strip() for line in reversed(self.lines) if line.strip()), f"status {self.status}")


def run_module(
    module: str,
    arguments: list[str],
    on_line: Callable[[str], None] | None = None,
    *,
    lifeline: bool = False,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> Ended:
    """Run `python -P -m module` to its end, with `environment` added. An interruption kills the child.

    Without `-P`, a file of the module's name in the current folder would run in its place. With `lifeline`,
    the child's stdin is a pipe that ends with this process, also if that is killed."""
    lines: deque[str] = deque(maxlen=_LINES_KEPT)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=subprocess.PIPE if lifeline else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **environment},
    )
    assert child.stdout is not None
    try:
        for line in child.stdout:
            lines.append(line.rstrip())
            if on_line:
                on_line(lines[-1])
        return Ended(child.wait(), list(lines))
    finally:
        child.kill()  # has no effect once the child has been waited for
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
