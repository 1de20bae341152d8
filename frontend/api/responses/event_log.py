"""Kept events of responses that are generated in the background: clients can go on reading at any of them."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from frontend.api.schema.response_events import Lifecycle, ResponseEvent
from frontend.api.sse import named_event
from frontend.errors import BadRequest

MOST_BYTES = 64 * 1024 * 1024  # of all logs together, except for the last event of each
MOST_ENDED = 1000  # logs of responses that have ended
KEPT_SECONDS = 300.0  # after the end of a response
_SLACK = 16  # where there is too much, this part of all is dropped as well, so that it is not dropped singly
_SLICE_BYTES = 256 * 1024  # that are read at once
_HEARTBEAT_BYTES = 16


class _Heartbeat:
    """An encoded event that is repeated under other numbers."""

    def __init__(self, event: Lifecycle) -> None:
        self.kind = type(event)
        number = b'"sequence_number":%d,' % event.sequence_number
        self._before, _, self._after = named_event(event).partition(number)

    def frame(self, number: int) -> bytes:
        return b'%b"sequence_number":%d,%b' % (self._before, number, self._after)


class EventLog:
    """One response's events, encoded and numbered from 0. The oldest are dropped when memory is short."""

    def __init__(self, beat: Callable[[], Lifecycle], grown: Callable[[int], None]) -> None:
        """`beat` makes the next heartbeat, those of one type with the same response. `grown` is called with
        the bytes that the log has grown by."""
        self._beat: Callable[[], Lifecycle] | None = beat  # none after the end
        self._grown = grown
        self._heartbeat: _Heartbeat | None = None
        self._frames: deque[bytes | _Heartbeat] = deque()
        self._dropped = 0
        self._listeners: set[Callable[[], None]] = set()
        self.size = 0  # bytes

    @property
    def ended(self) -> bool:
        return self._beat is None

    @property
    def next_number(self) -> int:
        return self._dropped + len(self._frames)

    @property
    def can_shrink(self) -> bool:
        return len(self._frames) > 1

    def append(self, events: Iterable[ResponseEvent]) -> None:
        size = 0
        for event in events:
            assert event.sequence_number == self.next_number
            frame = named_event(event)
            self._frames.append(frame)
            size += len(frame)
        self._changed(size)

    def beat(self) -> bytes:
        """Add a heartbeat for all who read. Returns nothing: they get it as they get every event."""
        if self._beat is not None:
            event, size = self._beat(), _HEARTBEAT_BYTES
            assert event.sequence_number == self.next_number
            if self._heartbeat is None or self._heartbeat.kind is not type(event):
                self._heartbeat = _Heartbeat(event)
                size += len(self._heartbeat.frame(0))
            self._frames.append(self._heartbeat)
            self._changed(size)
        return b""

    def end(self) -> None:
        self._beat = None
        self._changed(0)

    def _changed(self, size: int) -> None:
        self.size += size
        self._grown(size)
        for listener in list(self._listeners):
            listener()

    def shrink(self, size: int) -> int:
        """Drop the oldest events until `size` bytes are free or one is left. Returns the bytes freed."""
        freed = 0
        while freed < size and self.can_shrink:
            frame = self._frames.popleft()
            freed += _HEARTBEAT_BYTES if isinstance(frame, _Heartbeat) else len(frame)
            self._dropped += 1
        self.size -= freed
        return freed

    def check(self, number: int) -> None:
        """Raise BadRequest if the event was dropped."""
        if number < self._dropped:
            raise BadRequest(
                f"starting_after: the events before {self._dropped} are no longer kept; "
                "retrieve the response without stream",
                "starting_after",
            )

    def read(self, number: int) -> list[bytes]:
        """Events from `number` on: some, but not much more than 256 KiB. Raises as `check`."""
        self.check(number)
        frames: list[bytes] = []
        size = 0
        while size < _SLICE_BYTES and number < self.next_number:
            kept = self._frames[number - self._dropped]
            frames.append(kept.frame(number) if isinstance(kept, _Heartbeat) else kept)
            size += len(frames[-1])
            number += 1
        return frames

    def listen(self, callback: Callable[[], None]) -> None:
        self._listeners.add(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        self._listeners.discard(callback)


class LogReader:
    """Reads a log from one event on. Implements `frontend.http.push.Source`."""

    def __init__(self, log: EventLog, number: int) -> None:
        self._log = log
        self.next_number = number  # of the event that is read next
        self._callback: Callable[[], None] | None = None

    @property
    def finished(self) -> bool:
        return self._log.ended and self.next_number >= self._log.next_number

    def take(self) -> list[bytes]:
        frames = self._log.read(self.next_number)
        self.next_number += len(frames)
        return frames

    def listen(self, callback: Callable[[], None] | None) -> None:
        if self._callback is not None:
            self._log.forget(self._callback)
        self._callback = callback
        if callback is not None:
            self._log.listen(callback)


class EventLogs:
    """The logs of this server, by the ids of their responses."""

    def __init__(
        self, most_bytes: int = MOST_BYTES, kept_seconds: float = KEPT_SECONDS, most_ended: int = MOST_ENDED
    ) -> None:
        self._most_bytes = most_bytes
        self._kept_seconds = kept_seconds
        self._most_ended = most_ended
        self._logs: dict[str, EventLog] = {}
        self._ended: dict[str, asyncio.TimerHandle] = {}  # until they are removed, the oldest first
        self._size = 0  # bytes of all logs

    def find(self, response_id: str) -> EventLog | None:
        return self._logs.get(response_id)

    def open(self, response_id: str, beat: Callable[[], Lifecycle]) -> EventLog:
        log = EventLog(beat, lambda size: self._grow(response_id, size))
        self._logs[response_id] = log
        return log

    def expire(self, response_id: str) -> None:
        """Keep a log that has ended for a while."""
        if response_id not in self._logs:
            return
        loop = asyncio.get_running_loop()
        self._ended[response_id] = loop.call_later(self._kept_seconds, self.remove, response_id)
        if len(self._ended) > self._most_ended:
            self.remove(next(iter(self._ended)))

    def remove(self, response_id: str) -> None:
        log = self._logs.pop(response_id, None)
        if log is not None:
            self._size -= log.size
        timer = self._ended.pop(response_id, None)
        if timer is not None:
            timer.cancel()

    def _grow(self, response_id: str, size: int) -> None:
        if response_id in self._logs:
            self._size += size
            if self._size > self._most_bytes:
                self._make_room(self._most_bytes - self._most_bytes // _SLACK)

    def _make_room(self, most: int) -> None:
        """Logs that have ended are removed first, the oldest first; then the largest ones shrink."""
        while self._size > most and self._ended:
            self.remove(next(iter(self._ended)))
        while self._size > most:
            largest = max((log for log in self._logs.values() if log.can_shrink), key=_size, default=None)
            if largest is None:
                return
            self._size -= largest.shrink(self._size - most)


def _size(log: EventLog) -> int:
    return log.size
