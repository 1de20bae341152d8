"""`python -P -m frontend.models.pulling`: pulls one model, and prints how it proceeds as lines of JSON.

A process of its own, so that hashing never holds the lock of a server's interpreter. The first line of stdin
is an Order as JSON. With --lifeline, the process kills its group, itself included, once stdin is closed. What
it downloaded stays for the next pull.

    {"event": "step", "text": "Fetching …"}
    {"event": "progress", "done": 1048576, "total": 5242880, "bytes_per_second": 1.2e7, "seconds_left": 0.4}
    {"event": "note", "text": "…; trying again"}
    {"event": "done", "name": "…", "path": "…", "source": "…", "revision": "…"}
    {"event": "failed", "error": "…"}
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import IO

import msgspec

from frontend.models.reporter import Reporter

_SECONDS_BETWEEN = 0.25  # of two lines about the same progress
_WINDOW_SECONDS = 5.0  # over which the speed is measured
LIFELINE = "--lifeline"


class Step(msgspec.Struct, tag_field="event", tag="step", frozen=True):
    """An activity begins."""

    text: str


class Advance(msgspec.Struct, tag_field="event", tag="progress", frozen=True):
    """Bytes of the current activity. None: unknown."""

    done: int
    total: int | None = None
    bytes_per_second: float | None = None
    seconds_left: float | None = None


class Note(msgspec.Struct, tag_field="event", tag="note", frozen=True):
    """Something noteworthy that does not end the pull."""

    text: str


class Done(msgspec.Struct, tag_field="event", tag="done", frozen=True):
    """The store has the model."""

    name: str
    path: str
    source: str
    revision: str = ""


class Failed(msgspec.Struct, tag_field="event", tag="failed", frozen=True):
    """The pull ended without a model."""

    error: str


Event = Step | Advance | Note | Done | Failed
_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def decode_event(line: bytes) -> Event | None:
    """The event of a line; None for a line of somebody else, such as a library's warning."""
    try:
        return _decoder.decode(line)
    except (ValueError, RecursionError):
        return None


class Speed:
    """Bytes per second over the last seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: list[tuple[float, int]] = []

    def restart(self) -> None:
        self._seen.clear()

    def at(self, done: int, total: int | None) -> Advance:
        """The progress with the speed and the rest that follow from what was seen before."""
        now = self._clock()
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()
        self._seen = [seen for seen in self._seen if now - seen[0] <= _WINDOW_SECONDS]
        self._seen.append((now, done))
        before, bytes_before = self._seen[0]
        if now <= before or done <= bytes_before:
            return Advance(done, total)
        speed = (done - bytes_before) / (now - before)
        return Advance(done, total, speed, max(0, total - done) / speed if total else None)


class JsonReporter:
    """A Reporter that prints lines of JSON, a bounded number of them per second."""

    def __init__(self, out: IO[bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self._out, self._clock = out, clock
        self._speed = Speed(clock)
        self._printed_at = -_SECONDS_BETWEEN

    def step(self, text: str) -> None:
        self._speed.restart()
        self._printed_at = -_SECONDS_BETWEEN
        self.print(Step(text))

    def progress(self, done: int, total: int | None) -> None:
        if self._clock() - self._printed_at >= _SECONDS_BETWEEN or done == total:
            self._printed_at = self._clock()
            self.print(self._speed.at(done, total))

    def note(self, text: str) -> None:
        self.print(Note(text))

    def print(self, event: Event) -> None:
        self._out.write(msgspec.json.encode(event) + b"\n")
        self._out.flush()


class Order(msgspec.Struct, frozen=True):
    """What to pull: the first line that the process reads. Its URL may have a password."""

    source: str
    store: str | None = None
    name: str = ""
    revision: str = ""
    pattern: str = ""
    weight_format: str = ""
    local: bool = False  # whether the source may be a path


def pull(order: Order, reporter: Reporter) -> Done:
    """Raises ModelError, and ConfigError for a store that cannot be one."""
    from frontend.models.catalogue import load_catalogue
    from frontend.models.puller import Puller
    from frontend.models.resolve import Preparer
    from frontend.models.root import store_root
    from frontend.models.sources.asked import PullOptions
    from frontend.models.store import Store

    store, catalogue = Store(store_root(order.store), reporter), load_catalogue()
    puller = Puller(store, Preparer(store, reporter, catalogue), reporter, catalogue)
    options = PullOptions(order.name, order.revision, order.pattern, order.weight_format, order.local)
    pulled = puller.pull(order.source, options)
    return Done(pulled.name, pulled.path, pulled.source, pulled.revision)


def main(arguments: list[str]) -> int:
    from frontend.config import ConfigError
    from frontend.models.errors import ModelError

    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    if LIFELINE in arguments:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    reporter = JsonReporter(sys.stdout.buffer)
    try:
        reporter.print(pull(order, reporter))
    except (ModelError, ConfigError) as error:
        reporter.print(Failed(str(error)))
        return 1
    return 0


def _end_with_stdin() -> None:
    """The group has the processes that this one started: pip, and conversions."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
