"""A store in the memory of this process: lost when it exits, and never unavailable."""

import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from frontend.sessions.limits import StoreLimits, check_size


class _Entry(msgspec.Struct, frozen=True, gc=False):
    value: bytes
    expires: float


class MemoryStore:
    """Implements `store.Store`."""

    def __init__(self, limits: StoreLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = limits
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first
        self._bytes = 0

    async def get(self, key: str) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= self._clock():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry.value

    async def put(self, key: str, value: bytes) -> None:
        check_size(value, self.limits)
        self._remove(key)
        self._entries[key] = _Entry(value, self._clock() + self.limits.ttl_seconds)
        self._bytes += len(value)
        self._evict()

    async def replace(self, key: str, old: bytes | None, new: bytes) -> bool:
        if await self.get(key) != old:
            return False
        await self.put(key, new)
        return True

    async def delete(self, key: str) -> bool:
        existed = await self.get(key) is not None
        self._remove(key)
        return existed

    async def close(self) -> None:
        self._entries.clear()
        self._bytes = 0

    def _remove(self, key: str) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._bytes -= len(entry.value)

    def _evict(self) -> None:
        while len(self._entries) > self.limits.max_entries or self._bytes > self.limits.max_bytes:
            self._remove(next(iter(self._entries)))
