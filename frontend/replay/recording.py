"""An answer, finished or in progress, that each request reads from its own position."""

import asyncio
from bisect import bisect_right
from collections.abc import Callable
from typing import TypeVar

from frontend.http.asgi import Message, Writer
from frontend.http.exchange import Exchange

T = TypeVar("T")

_GAP = b"\n\n"  # after an event
_IDS_MADE = 4096  # once: to format a number costs more than all else for an event
_EVENTS = b"text/event-stream"


def _id_line(number: int) -> bytes:
    return b"id: %d\n" % number


_ID_LINES = [_id_line(number) for number in range(_IDS_MADE)]


def _fixed(read: Callable[[], T] | None) -> Callable[[], T] | None:
    """What it reads now."""
    if read is None:
        return None
    value = read()
    return lambda: value


class CutOff(Exception):
    """The application cut its client off, because the answer has no place for an error."""


class Recording:
    """Implements `asgi.Writer` for the application that makes the answer. It takes whatever is written: who
    reads slowly falls behind."""

    paused = gone = False

    def __init__(self, exchange: Exchange, numbers_events: bool = False) -> None:
        """`exchange`: that of the request for which it is made. `numbers_events`: server-sent events get
        ids from 1 on."""
        self.exchange = exchange
        self.start: Message | None = None
        self.ended = False
        self.error: Exception | None = None
        self.parts: list[bytes] = []  # as written; of a numbered stream, whole events with their ids
        self.last_numbers: list[int] = []  # of a numbered stream: the number of the last event in each part
        self.readers = 0
        self.abandoned = asyncio.Event()  # nobody will read it: it need not be made to its end
        self._numbers_events = numbers_events
        self.is_numbered = False  # is a stream of events with ids
        self._begun = asyncio.Event()
        self._size = self._counted = 0  # bytes, and how many parts they are of
        self._listeners: list[Callable[[], None]] = []

    @property
    def is_good(self) -> bool:
        """Whether it is a whole answer that another request may get."""
        is_ok = self.start is not None and self.start["status"] == 200
        return self.ended and self.error is None and is_ok and self.exchange.failure is None

    @property
    def is_unread(self) -> bool:
        """Whether it is in progress without a reader."""
        return not (self.readers or self.ended or self.abandoned.is_set())

    def may_follow(self, number: int) -> bool:
        """Whether a client can have the event of that number. It has begun."""
        return not self.is_numbered or number <= self._events

    async def send(self, message: Message) -> None:
        """For the application that makes the answer."""
        if message["type"] == "http.response.start":
            headers = dict(message.get("headers", ()))
            self.is_numbered = self._numbers_events and headers.get(b"content-type", b"").startswith(_EVENTS)
            self.start = message
            self._begun.set()
        elif not self.ended:
            self.write(message.get("body", b""))
            if not message.get("more_body", False):
                self.ended = True
                self._tell()

    def write(self, data: bytes) -> None:
        if self.start is None or self.ended:
            if self.error is None:
                raise RuntimeError("written outside the body")
            return
        if self.is_numbered:
            self._number(data)
        elif data:
            self.parts.append(data)
        for listener in self._listeners:
            listener()

    def _number(self, data: bytes) -> None:
        """Add an id to each event, in few calls: a server sends thousands of events per second."""
        events = list(filter(None, data.split(_GAP)))
        if not events:
            return
        first, last = self._events + 1, self._events + len(events)
        lines = [_GAP] * (3 * len(events))
        lines[::3] = (
            _ID_LINES[first : last + 1] if last < _IDS_MADE else map(_id_line, range(first, last + 1))
        )
        lines[1::3] = events
        self.parts.append(b"".join(lines))
        self.last_numbers.append(last)

    @property
    def _events(self) -> int:
        return self.last_numbers[-1] if self.last_numbers else 0

    @property
    def size(self) -> int:
        """Bytes of all parts so far."""
        self._size += sum(map(len, self.parts[self._counted :]))
        self._counted = len(self.parts)
        return self._size

    @property
    def written(self) -> int:
        return self.size

    def cut_off(self) -> None:
        self._break(CutOff())

    def notify(self, callback: Callable[[], None] | None) -> None:
        """It is never paused, and the application hears otherwise that nobody will read it."""

    def end(self, error: Exception | None) -> None:
        """The application has returned; `error` is what it raised."""
        if error is not None or not self.ended:
            self._break(error or RuntimeError("the answer is incomplete"))
        self._forget_work()

    def _forget_work(self) -> None:
        """Keep what the exchange reads of it, and not the whole generation."""
        exchange = self.exchange
        exchange.tokens = _fixed(exchange.tokens)
        exchange.first_token_seconds = _fixed(exchange.first_token_seconds)
        exchange.audio_seconds = _fixed(exchange.audio_seconds)
        exchange.course = exchange.phase = exchange.trace = None  # which may hold texts

    def _break(self, error: Exception) -> None:
        self.error = self.error or error
        self.ended = True
        self._begun.set()
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def listen(self, callback: Callable[[], None]) -> None:
        """Call `callback`, which must not change who listens, after each change."""
        self._listeners.append(callback)

    def ignore(self, callback: Callable[[], None]) -> None:
        self._listeners.remove(callback)

    async def begun(self) -> None:
        """Wait until the response starts, or ends without a start."""
        await self._begun.wait()


class Reader:
    """One request's place in a recording that has begun. Implements `push.Source`.

    While it is listened to, what is added is written at once, since whatever adds it has waited for the end
    of a turn of the event loop. What the client has no room for, the end and errors are left to be taken.
    """

    def __init__(self, recording: Recording, after: int, writer: Writer | None) -> None:
        """`after`: the number of the last event that is not wanted. It counts in a numbered stream alone: a
        part of anything else would not be an answer. `writer`: the client's."""
        self._recording = recording
        self._writer = writer
        self._taken = 0  # number of parts
        self._rest = b""  # of the last taken part, where the client needs only its end
        if recording.is_numbered and after:
            self._skip(after)
        self._callback: Callable[[], None] | None = None

    def _skip(self, after: int) -> None:
        recording = self._recording
        part = bisect_right(recording.last_numbers, after)
        before = recording.last_numbers[part - 1] if part else 0
        self._taken = part
        if before < after:
            events = recording.parts[part]
            self._rest = events[events.index(_GAP + _id_line(after + 1)) + len(_GAP) :]
            self._taken += 1

    @property
    def finished(self) -> bool:
        recording = self._recording
        is_over = recording.ended and recording.error is None
        return is_over and not self._rest and self._taken >= len(recording.parts)

    def take(self) -> list[bytes]:
        parts = self._next()
        if not parts and self._recording.error is not None:
            raise self._recording.error
        return parts

    def _next(self) -> list[bytes]:
        parts = self._recording.parts[self._taken :]
        self._taken += len(parts)
        if self._rest:
            parts.insert(0, self._rest)
            self._rest = b""
        return parts

    def listen(self, callback: Callable[[], None] | None) -> None:
        if self._callback is not None:
            self._recording.ignore(self._changed)
        if callback is not None:
            self._recording.listen(self._changed)
        self._callback = callback

    def _changed(self) -> None:
        recording, writer = self._recording, self._writer
        if writer is None or writer.paused or recording.ended:
            assert self._callback is not None
            self._callback()
            return
        writer.write(b"".join(self._next()))
