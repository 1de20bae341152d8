"""A thread-safe mapping that is bounded by the memory of its values."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")

_ENTRY_BYTES = 300  # of a small key and the containers


class BoundedLru(Generic[Value]):
    """Evicts the least recently used values."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()  # with their sizes, in bytes
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        """Memory in use, approximately."""
        return self._bytes

    def get(self, key: Hashable) -> Value | None:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def put(self, key: Hashable, value: Value, size_bytes: int) -> None:
        """Keep the value, unless there already is one. `size_bytes` includes the key unless that is small."""
        size = _ENTRY_BYTES + size_bytes
        with self._lock:
            if key in self._entries:  # another thread was faster
                return
            self._entries[key] = value, size
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, (_, evicted) = self._entries.popitem(last=False)
                self._bytes -= evicted
