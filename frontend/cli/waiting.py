"""Shows in a terminal that a command waits, and for what."""

import itertools
import os
import sys
import threading
import time
from types import TracebackType
from typing import Self

_FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_FRAME_SECONDS = 0.1
_PATIENCE_SECONDS = 0.3  # what takes less shows nothing
_ERASE = "\r\x1b[K"


class Waiting:
    """A line on stderr for a `with` statement, with the seconds that have passed; nothing if it is no
    terminal."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Erase the line. It may be called again."""
        self._done.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _show(self) -> None:
        began = time.monotonic()
        if self._done.wait(_PATIENCE_SECONDS):
            return
        for frame in itertools.cycle(_FRAMES):
            text = f" {self.text}" if self.text else ""
            sys.stderr.write(f"{_ERASE}{frame}{text} {time.monotonic() - began:.0f} s")
            sys.stderr.flush()
            if self._done.wait(_FRAME_SECONDS):
                break
        sys.stderr.write(_ERASE)
        sys.stderr.flush()
