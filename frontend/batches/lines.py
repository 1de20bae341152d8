"""The requests of one batch in the order in which they are to be made."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from frontend.batches.input import Place

_FETCHED = 64  # lines at a time

Fetch = Callable[[int, int], Awaitable[Sequence[Place]]]


class Attempt(msgspec.Struct, frozen=True):
    place: Place
    number: int = 1


class Lines:
    """Hands out each line once, and again what is put back. After a wait that somebody asked for, nothing is
    handed out until it is over."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float]) -> None:
        """`fetch(after, limit)` returns lines without an answer; `clock` returns seconds."""
        self._fetch = fetch
        self._clock = clock
        self._ready: deque[Attempt] = deque()
        self._again: deque[Attempt] = deque()
        self._after = 0
        self._all_fetched = False
        self._running = 0
        self._not_before = 0.0
        self._changed = asyncio.Event()

    async def next(self) -> Attempt | None:
        """The next line; None once all are done."""
        while True:
            self._changed.clear()
            if (wait := self._not_before - self._clock()) > 0:
                await asyncio.sleep(wait)
                continue
            if attempt := await self._available():
                self._running += 1
                return attempt
            if not self._running:
                return None
            await self._changed.wait()

    async def _available(self) -> Attempt | None:
        if self._again:
            return self._again.popleft()
        if not self._ready and not self._all_fetched:
            places = await self._fetch(self._after, _FETCHED)
            self._all_fetched = len(places) < _FETCHED
            self._ready.extend(map(Attempt, places))
            self._after = places[-1].number if places else self._after
        return self._ready.popleft() if self._ready else None

    def done(self) -> None:
        self._running -= 1
        self._changed.set()

    def put_back(self, attempt: Attempt, seconds: float) -> None:
        """To be tried again, no sooner than after `seconds`, as is everything else."""
        self._again.append(msgspec.structs.replace(attempt, number=attempt.number + 1))
        self._not_before = max(self._not_before, self._clock() + seconds)
        self.done()
