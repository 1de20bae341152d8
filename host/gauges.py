"""How often an engine's state is reported."""

import time
from collections.abc import Callable

from ipc.messages import Gauges

GAUGE_SECONDS = 0.25


class GaugeReporter:
    """Reports gauges when they change: a few times a second, but at once that it is busy or idle now."""

    def __init__(self, read: Callable[[], Gauges]) -> None:
        self._read = read
        self._sent: Gauges | None = None
        self._due = 0.0
        self._was_busy = False

    def due(self, busy: bool) -> list[Gauges]:
        """What is to be sent now: the gauges, or nothing."""
        now = time.monotonic()
        if now < self._due and busy == self._was_busy:
            return []
        self._due = now + GAUGE_SECONDS
        self._was_busy = busy
        gauges = self._read()
        if gauges == self._sent:
            return []
        self._sent = gauges
        return [gauges]
