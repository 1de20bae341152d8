"""Whose sentence is computed next. Pure."""

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_NEW_IN_A_ROW = 4

T = TypeVar("T", bound=Hashable)


class Turns(Generic[T]):
    """Requests take turns, sentence by sentence. New ones come first, so that their sound begins early; but
    after some new ones, one of the others has its turn."""

    def __init__(self) -> None:
        self._new: deque[T] = deque()
        self._others: deque[T] = deque()
        self._in_a_row = 0  # new ones

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
        waited = self._in_a_row >= _NEW_IN_A_ROW and self._others
        if self._new and not waited:
            self._in_a_row += 1
            return self._new.popleft()
        self._in_a_row = 0
        return self._others.popleft()
