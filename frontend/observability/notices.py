"""What happens in the server, for whoever follows it."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

import msgspec

_HELD = 256  # for one follower; the oldest are dropped


class About(Protocol):
    """A struct that is about a model."""

    @property
    def model(self) -> str: ...


class Notice(msgspec.Struct, frozen=True):
    kind: str  # the name of its event
    about: About


class Notices:
    def __init__(self) -> None:
        self._followers: set[asyncio.Queue[Notice]] = set()

    def publish(self, kind: str, about: Callable[[], About]) -> None:
        """`about` is called only if somebody follows."""
        if not self._followers:
            return
        notice = Notice(kind, about())
        for queue in self._followers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(notice)

    async def follow(self) -> AsyncGenerator[Notice, None]:
        """From the first `anext` on. Whoever reads too slowly misses the oldest."""
        queue: asyncio.Queue[Notice] = asyncio.Queue(_HELD)
        self._followers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._followers.discard(queue)
