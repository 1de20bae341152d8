"""Recordings by key, within bounds of bytes, number and age. Pure but for the clock that it is given."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from frontend.replay.recording import Recording


class Kept(msgspec.Struct, eq=False):
    recording: Recording
    mark: Any  # what must be the same for the recording to be valid
    ended_at: float | None = None  # in seconds of the clock


class Shelf:
    def __init__(
        self, max_bytes: int, max_entries: int, kept_seconds: float, clock: Callable[[], float]
    ) -> None:
        """One entry may take a quarter of `max_bytes`. It is kept for `kept_seconds` after it has ended."""
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._making: dict[Any, Kept] = {}
        self._made: OrderedDict[Any, Kept] = OrderedDict()  # the least recently used first
        self._by_age: dict[Any, None] = {}  # their keys, the oldest first
        self.size = 0  # bytes of those that have ended

    def find(self, key: Any) -> Kept | None:
        found = self._made.get(key)
        if found is None:
            return self._making.get(key)
        if self._is_old(found):
            self.drop(key)
            return None
        self._made.move_to_end(key)
        return found

    def put(self, key: Any, recording: Recording, mark: Any) -> None:
        """Add one that is in progress. It stays until `end`, or until another replaces it."""
        self.drop(key)
        self._making[key] = Kept(recording, mark)

    def end(self, key: Any, recording: Recording) -> None:
        """It has ended: keep it if it is good and there is room."""
        found = self._making.get(key)
        if found is None or found.recording is not recording:
            return
        del self._making[key]
        if not recording.is_good or recording.size > self._max_bytes // 4:
            return
        found.ended_at = self._clock()
        self._made[key] = found
        self._by_age[key] = None
        self.size += recording.size
        self._make_room()

    def _make_room(self) -> None:
        while self._by_age and self._is_old(self._made[oldest := next(iter(self._by_age))]):
            self.drop(oldest)
        while self.size > self._max_bytes or len(self._made) > self._max_entries:
            self.drop(next(iter(self._made)))

    def drop(self, key: Any) -> None:
        self._making.pop(key, None)
        if (found := self._made.pop(key, None)) is not None:
            del self._by_age[key]
            self.size -= found.recording.size

    def _is_old(self, kept: Kept) -> bool:
        return kept.ended_at is not None and kept.ended_at < self._clock() - self._kept_seconds
