"""Kept events of responses that are generated in the background: clients can go on reading at any of them."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from frontend.api.schema.response_events import ResponseEvent
from frontend.api.sse import named_event
from frontend.errors import BadRequest

MOST_BYTES = 64 * 1024 * 1024  # of all logs together
KEPT_SECONDS = 300.0  # after the end of a response
_LEAST_BYTES = 256 * 1024  # of one log, whatever the number of logs
_BEAT_BYTES = 16

Beat = Callable[[int], ResponseEvent]  # from its sequence number


class EventLog:
    """One response's events, encoded and numbered from 0. The oldest are dropped when memory is short."""

    def __init__(
        self, beat: Callable[[], ResponseEvent], beat_again: Beat, most_bytes: Callable[[], int]
    ) -> None:
        """`beat` makes the next heartbeat, and `beat_again` an earlier one, which is not kept: it would hold
        the whole response. `most_bytes` returns how many bytes the log may have now."""
        self._beat = beat
        self._beat_again = beat_again
        self._most_bytes = most_bytes
        self._frames: deque[bytes | None] = deque()  # None for a heartbeat
        self._dropped = 0
        self._listeners: set[Callable[[], None]] = set()
        self.size = 0  # bytes
        self.ended = False

    @property
    def next_number(self) -> int:
        return self._dropped + len(self._frames)

    def append(self, events: Iterable[ResponseEvent]) -> None:
        for event in events:
            assert event.sequence_number == self.next_number
            frame = named_event(event)
            self._frames.append(frame)
            self.size += len(frame)
        self._changed()

    def beat(self) -> bytes:
        """Add a heartbeat for all who read. Returns nothing: they get it as they get every event."""
        if not self.ended:
            event = self._beat()
            assert event.sequence_number == self.next_number
            self._frames.append(None)
            self.size += _BEAT_BYTES
            self._changed()
        return b""

    def end(self) -> None:
        self.ended = True
        self._changed()

    def _changed(self) -> None:
        most = self._most_bytes()
        while self.size > most and len(self._frames) > 1:
            frame = self._frames.popleft()
            self.size -= _BEAT_BYTES if frame is None else len(frame)
            self._dropped += 1
        for listener in list(self._listeners):
            listener()

    def read(self, number: int) -> list[bytes]:
        """The events from `number` on. Raises BadRequest if it was dropped."""
        if number < self._dropped:
            raise BadRequest(
                f"starting_after: the events before {self._dropped} are no longer kept; "
                "retrieve the response without stream",
                "starting_after",
            )
        return [
            named_event(self._beat_again(index))
            if (frame := self._frames[index - self._dropped]) is None
            else frame
            for index in range(number, self.next_number)
        ]

    def listen(self, callback: Callable[[], None]) -> None:
        self._listeners.add(callback)

    def forget(self, callback: Callable[[], None]) -> None:
        self._listeners.discard(callback)


class LogReader:
    """Reads a log from one event on. Implements `frontend.http.push.Source`."""

    def __init__(self, log: EventLog, number: int) -> None:
        self._log = log
        self._number = number
        self._callback: Callable[[], None] | None = None

    @property
    def finished(self) -> bool:
        return self._log.ended and self._number >= self._log.next_number

    def take(self) -> list[bytes]:
        frames = self._log.read(self._number)
        self._number += len(frames)
        return frames

    def listen(self, callback: Callable[[], None] | None) -> None:
        if self._callback is not None:
            self._log.forget(self._callback)
        self._callback = callback
        if callback is not None:
            self._log.listen(callback)


class EventLogs:
    """The logs of this server, by the ids of their responses."""

    def __init__(self, most_bytes: int = MOST_BYTES, kept_seconds: float = KEPT_SECONDS) -> None:
        self._most_bytes = most_bytes
        self._kept_seconds = kept_seconds
        self._logs: dict[str, EventLog] = {}

    def find(self, response_id: str) -> EventLog | None:
        return self._logs.get(response_id)

    def open(self, response_id: str, beat: Callable[[], ResponseEvent], beat_again: Beat) -> EventLog:
        log = EventLog(beat, beat_again, self._share)
        self._logs[response_id] = log
        return log

    def expire(self, response_id: str) -> None:
        """Keep a log that has ended for a while."""
        asyncio.get_running_loop().call_later(self._kept_seconds, self.remove, response_id)

    def remove(self, response_id: str) -> None:
        self._logs.pop(response_id, None)

    def _share(self) -> int:
        """How many bytes a log may have. Logs that have ended make room first, the oldest first."""
        total = sum(log.size for log in self._logs.values())
        for response_id, log in list(self._logs.items()):
            if total <= self._most_bytes:
                break
            if log.ended:
                total -= log.size
                self.remove(response_id)
        return max(_LEAST_BYTES, self._most_bytes // max(1, len(self._logs)))
