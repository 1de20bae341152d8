"""The progress page: how a host shows that it lives while native code holds the GIL.

The host writes before and after each long call; the frontend reads whenever it likes. One writer, one
reader, a sequence number that is odd during a write.
"""

import mmap
import struct
import time
from enum import IntEnum

import msgspec

from ipc.memfd import map_shared

PAGE_BYTES = 4096
_SEQUENCE = struct.Struct("<Q")
_BODY = struct.Struct("<QQdd")  # phase, beat, monotonic time, deadline
_READ_TRIES = 100


class Phase(IntEnum):
    """What the host is doing; each phase has its own budget."""

    STARTING = 0  # importing, before anything was written
    LOADING = 1
    IDLE = 2
    STEP = 3
    MEDIA = 4  # images, or a model that is loaded again: calls that cannot be interrupted


_PHASES = frozenset(Phase)

MEDIA_STEPS = 20  # the largest budget for the images of one request, in budgets of a step


class Progress(msgspec.Struct, frozen=True, gc=False):
    """One reading. Times are seconds on CLOCK_MONOTONIC, which all processes share."""

    phase: Phase
    beat: int  # grows with every write
    time: float
    deadline: float

    @property
    def budget(self) -> float:
        return self.deadline - self.time


class ProgressWriter:
    """The host's side."""

    def __init__(self, fd: int) -> None:
        self._page: mmap.mmap = map_shared(fd)
        self._beat = 0

    def enter(self, phase: Phase, budget: float) -> None:
        """Say that `phase` begins now and takes at most `budget` seconds until the next call."""
        self._beat += 1
        now = time.monotonic()
        _SEQUENCE.pack_into(self._page, 0, 2 * self._beat - 1)
        _BODY.pack_into(self._page, 8, phase, self._beat, now, now + budget)
        _SEQUENCE.pack_into(self._page, 0, 2 * self._beat)


class ProgressReader:
    """The frontend's side."""

    def __init__(self, fd: int) -> None:
        self._page: mmap.mmap = map_shared(fd)

    def read(self) -> Progress | None:
        """The latest reading, or None if the page makes no sense: its writer ended in mid-write."""
        for _ in range(_READ_TRIES):
            before = _SEQUENCE.unpack_from(self._page, 0)[0]
            phase, beat, at, deadline = _BODY.unpack_from(self._page, 8)
            if before % 2 == 0 and before == _SEQUENCE.unpack_from(self._page, 0)[0]:
                return Progress(Phase(phase), beat, at, deadline) if phase in _PHASES else None
        return None
