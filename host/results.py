"""How engines reply with tensors: inline in a message if they are small, else in the result arena."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from host.engines.base import EngineLost
from ipc.arena import ArenaProducer
from ipc.messages import INLINE_LIMIT_BYTES, Payload, Release, Reply

PLACE_SECONDS = 120.0  # a frontend that frees nothing for this long is given up


class Results:
    """The host's side of the result arena."""

    def __init__(self, arena: ArenaProducer) -> None:
        self._arena = arena

    @property
    def limit_bytes(self) -> int:
        """The largest result that can ever be placed."""
        return self._arena.size

    def place(self, tensor: Any) -> Payload | None:
        """Copy a numpy array, in row-major order; None while the arena has no room for it.

        Raises LeaseError above `limit_bytes`.
        """
        if tensor.nbytes <= INLINE_LIMIT_BYTES:
            return bytes(tensor.tobytes())
        lease = self._arena.lease(tensor.nbytes, tensor.dtype.str[1:], tensor.shape)
        if lease is not None:
            self._arena.write(lease, memoryview(tensor).cast("B"))
        return lease

    def release(self, message: Release) -> None:
        """The frontend has read a lease. Raises LeaseError if there is none."""
        self._arena.release(message.slot, message.generation)


class _Unplaced(NamedTuple):
    request_id: int
    tensor: Any  # a contiguous numpy array
    reply: Callable[[Payload], Reply]


class ResultQueue:
    """Complete results on their way out. What the arena has no room for waits its turn; what is small enough
    to travel inline never waits."""

    def __init__(self, results: Results, clock: Callable[[], float] = time.monotonic) -> None:
        self._results = results
        self._clock = clock
        self._waiting: deque[_Unplaced] = deque()
        self._deadline: float | None = None  # by which the arena must have room for the first one

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, request_id: int, tensor: Any, reply: Callable[[Payload], Reply]) -> None:
        """`reply` makes the message that carries the tensor, a contiguous numpy array."""
        self._waiting.append(_Unplaced(request_id, tensor, reply))

    def drop(self, request_id: int) -> None:
        """Forget a request's result, if one waits."""
        self._waiting = deque(entry for entry in self._waiting if entry.request_id != request_id)

    def replies(self) -> list[Reply]:
        """The messages of all results that could be placed. Raises EngineLost if the arena has had no room
        for PLACE_SECONDS."""
        placed, refused = [], deque[_Unplaced]()
        for entry in self._waiting:
            waits = refused and entry.tensor.nbytes > INLINE_LIMIT_BYTES
            payload = None if waits else self._results.place(entry.tensor)
            if payload is None:
                refused.append(entry)
            else:
                placed.append(entry.reply(payload))
        self._watch(self._waiting, refused)
        self._waiting = refused
        return placed

    def _watch(self, before: deque[_Unplaced], after: deque[_Unplaced]) -> None:
        now = self._clock()
        if not after:
            self._deadline = None
        elif self._deadline is None or before[0] is not after[0]:
            self._deadline = now + PLACE_SECONDS
        elif now > self._deadline:
            raise EngineLost(f"the result arena had no room for {PLACE_SECONDS:g} seconds")
