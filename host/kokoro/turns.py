"""Whose sentence is computed next. Pure."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class Turns(Generic[T]):
    """Requests take turns, sentence by sentence. A new one comes next, so that its first sound is early; but
    between two new ones, one of the others has its turn."""

    def __init__(self) -> None:
        self._new: deque[T] = deque()
        self._others: deque[T] = deque()
        self._last_was_new = False

    def __bool__(self) -> bool:
        return bool(self._new or self._others)

    def __len__(self) -> int:
        return len(self._new) + len(self._others)

    def add(self, request: T) -> None:
        self._new.append(request)

    def again(self, request: T) -> None:
        """It has had its turn, and wants another."""
        self._others.append(request)

    def drop(self, wanted: Callable[[T], bool]) -> None:
        """Keep only those that are `wanted`."""
        self._new = deque(filter(wanted, self._new))
        self._others = deque(filter(wanted, self._others))

    def next(self) -> T:
        """Take out the next one. Only while there is one."""
        self._last_was_new = bool(self._new) and not (self._last_was_new and self._others)
        return (self._new if self._last_was_new else self._others).popleft()
