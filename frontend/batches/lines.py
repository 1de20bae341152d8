"""The requests of one batch in the order in which they are to be made."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec

from frontend.batches.input import Place

_FETCHED = 64  # lines at a time
MAX_WAITING = 256  # lines to be tried again, from which number on no others begin

Fetch = Callable[[int, int], Awaitable[Sequence[Place]]]


class Attempt(msgspec.Struct, frozen=True):
    place: Place
    number: int = 1


class _Again(NamedTuple):
    due: float
    line: int
    attempt: Attempt


class Lines:
    """Hands out each line once, and lines that are put back again after a wait. Other lines go on meanwhile,
    unless MAX_WAITING lines wait: then the server is busy for all of them."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float]) -> None:
        """`fetch(after, limit)` returns lines without an answer; `clock` returns seconds."""
        self._fetch = fetch
        self._clock = clock
        self._ready: deque[Attempt] = deque()
        self._again: list[_Again] = []  # a heap
        self._after = 0
        self._all_fetched = False
        self._running = 0
        self._changed = asyncio.Event()

    async def next(self) -> Attempt | None:
        """The next line; None once all are done."""
        while True:
            self._changed.clear()
            if attempt := await self._available():
                self._running += 1
                return attempt
            if not self._running and not self._again:
                return None
            await self._change()

    async def _available(self) -> Attempt | None:
        if self._again and self._again[0].due <= self._clock():
            return heappop(self._again).attempt
        if len(self._again) >= MAX_WAITING:
            return None
        if not self._ready and not self._all_fetched:
            places = await self._fetch(self._after, _FETCHED)
            self._all_fetched = len(places) < _FETCHED
            self._ready.extend(map(Attempt, places))
            self._after = places[-1].number if places else self._after
        return self._ready.popleft() if self._ready else None

    async def _change(self) -> None:
        """Until a line is done or put back, or the first one is to be tried again."""
        seconds = max(0.0, self._again[0].due - self._clock()) if self._again else None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def done(self) -> None:
        self._running -= 1
        self._changed.set()

    def put_back(self, attempt: Attempt, seconds: float) -> None:
        """To be tried again, no sooner than after `seconds`."""
        attempt = msgspec.structs.replace(attempt, number=attempt.number + 1)
        heappush(self._again, _Again(self._clock() + seconds, attempt.place.number, attempt))
        self.done()
