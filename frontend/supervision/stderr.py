"""A host's standard error: to the log line by line, the last lines kept for crash reports."""

import logging
import os
from collections import deque

KEPT_LINES = 40
MAX_LINE = 2000
_READ_BYTES = 65536

log = logging.getLogger("nacelle.host")


class StderrTail:
    """Reads a non-blocking descriptor whenever told that it is readable."""

    def __init__(self, fd: int, tag: str) -> None:
        self._fd = fd
        self._tag = tag
        self._partial = b""
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    def read(self) -> bool:
        """Take what is there. False at the end of the stream."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return True
        *complete, self._partial = (self._partial + data).split(b"\n")
        for line in complete:
            self._keep(line)
        if len(self._partial) > MAX_LINE or (not data and self._partial):
            self._keep(self._partial)
            self._partial = b""
        return bool(data)

    def _keep(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()[:MAX_LINE]
        if line:
            self.lines.append(line)
            log.info("%s", line, extra={"host": self._tag})
