"""Whose turn it is: weighted fair queueing over callers, interactive work before batch work. Pure.

Each caller has a line in order of arrival and a *start*, its place in virtual time: the tokens that were
spent on it so far, divided by its weight. The caller with the smallest start is served next. A caller that
had nothing waiting gets the smallest start of those that wait, so the first job of a light caller goes before
the next job of a heavy one, however many of those wait, and nobody saves up turns by being idle.

Nobody starves. A caller that was passed over PATIENCE times, and twice more for each caller that waits, is
served next, whatever its start. A batch job is served after BATCH_PATIENCE interactive ones went before it.

Costs of adding and taking a job: O(log callers + log jobs of the caller).
"""

import heapq
import itertools
from bisect import bisect_left, insort
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

from frontend.caller import Caller

PATIENCE = 64
BATCH_PATIENCE = 16
_MIN_WEIGHT = 0.001
_SPARE = 1024  # callers that are remembered although nothing of theirs waits


class Waiting(Protocol):
    """What a job must state of itself."""

    arrived_at: float
    cost: int  # in tokens, as estimated
    caller: Caller


T = TypeVar("T", bound=Waiting)


def _arrival(job: Waiting) -> float:
    return job.arrived_at


def _remove(jobs: list[T], job: T) -> bool:
    """From a list in order of arrival; whether it was there."""
    for index in range(bisect_left(jobs, job.arrived_at, key=_arrival), len(jobs)):
        if jobs[index] is job:
            del jobs[index]
            return True
        if jobs[index].arrived_at != job.arrived_at:
            return False
    return False


class _Caller(Generic[T]):
    def __init__(self, start: float) -> None:
        self.jobs: list[T] = []
        self.start = start
        self.ticket = 0  # the entry in the heap that is valid
        self.since = 0  # the turn at which it was served last, or began to wait


class FairLine(Generic[T]):
    """The jobs of one class, interactive or batch."""

    def __init__(self) -> None:
        self.returned: list[T] = []  # that were served before, and lost their host: they go first
        self._callers: dict[str | None, _Caller[T]] = {}
        self._waiting: dict[str | None, None] = {}  # callers with jobs, the one served least recently first
        self._heap: list[tuple[float, int, str | None]] = []  # start, ticket, key; some are outdated
        self._tickets = itertools.count(1)
        self._now = 0.0  # virtual: no waiting caller has a smaller start
        self._turns = 0
        self._last: T | None = None  # that was served
        self._size = 0

    def __len__(self) -> int:
        return self._size + len(self.returned)

    def __iter__(self) -> Iterator[T]:
        yield from self.returned
        for key in self._waiting:
            yield from self._callers[key].jobs

    @property
    def callers(self) -> int:
        """That wait."""
        return len(self._waiting)

    def of(self, key: str | None) -> int:
        """How many jobs of a caller wait, without those that returned."""
        caller = self._callers.get(key)
        return len(caller.jobs) if caller is not None else 0

    def add(self, job: T, *, returned: bool = False) -> None:
        if returned:
            insort(self.returned, job, key=_arrival)
            return
        key = job.caller.key_id
        caller = self._callers.get(key)
        if caller is None:
            if len(self._callers) > _SPARE + 4 * len(self._waiting):  # many came once
                self._callers = {known: self._callers[known] for known in self._waiting}
            caller = self._callers[key] = _Caller(self._now)
        insort(caller.jobs, job, key=_arrival)
        self._size += 1
        if key not in self._waiting:
            self._waiting[key] = None
            caller.since = self._turns
            self._place(key, max(self._now, caller.start))

    def remove(self, job: T) -> bool:
        """Whether it was here."""
        if _remove(self.returned, job):
            return True
        key = job.caller.key_id
        caller = self._callers.get(key)
        if caller is None or not _remove(caller.jobs, job):
            return False
        self._size -= 1
        if not caller.jobs:
            self._waiting.pop(key)
            caller.ticket = 0
        return True

    def first(self) -> T | None:
        """The job to serve next; `serve` it, or `remove` it."""
        if self.returned:
            return self.returned[0]
        if not self._waiting:
            return None
        return self._callers[self._next()].jobs[0]

    def serve(self, job: T) -> None:
        """It goes to a host now: its caller pays for it, unless it has done so before."""
        key = job.caller.key_id
        caller = self._callers.get(key)
        if _remove(self.returned, job) or caller is None:
            return
        self._turns += 1
        if self._waiting:
            self._now = max(self._now, self._lowest()[0])
        caller.start += _share(job, job.cost)
        caller.since = self._turns
        self._last = job
        if self.remove(job) and caller.jobs:
            del self._waiting[key]  # to the end
            self._waiting[key] = None
            self._place(key, caller.start)

    def correct(self, job: T, tokens: int) -> None:
        """A job that was served has ended, and took so many tokens instead of its estimated cost."""
        key = job.caller.key_id
        caller = self._callers.get(key)
        if caller is not None and tokens != job.cost:
            caller.start += _share(job, tokens - job.cost)
            if caller.jobs:
                self._place(key, max(self._now, caller.start))

    def forget(self) -> None:
        """Nothing waits or runs: who comes next starts anew."""
        if not self._size:
            self._callers.clear()
            self._heap.clear()
            self._now, self._last = 0.0, None

    def _place(self, key: str | None, start: float) -> None:
        caller = self._callers[key]
        caller.start, caller.ticket = start, next(self._tickets)
        heapq.heappush(self._heap, (start, caller.ticket, key))
        if len(self._heap) > _SPARE + 4 * len(self._waiting):
            self._heap = [entry for entry in self._heap if self._is_valid(entry)]
            heapq.heapify(self._heap)

    def _next(self) -> str | None:
        oldest = next(iter(self._waiting))
        if self._turns - self._callers[oldest].since >= PATIENCE + 2 * len(self._waiting):
            return oldest
        last = self._last
        if last is not None:  # choices of one request go together, as far as nobody else loses patience
            caller = self._callers.get(last.caller.key_id)
            if caller is not None and caller.jobs and caller.jobs[0].arrived_at == last.arrived_at:
                return last.caller.key_id
        return self._lowest()[2]

    def _lowest(self) -> tuple[float, int, str | None]:
        """The entry of the waiting caller with the smallest start."""
        while not self._is_valid(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0]

    def _is_valid(self, entry: tuple[float, int, str | None]) -> bool:
        caller = self._callers.get(entry[2])
        return caller is not None and caller.ticket == entry[1]


class FairQueue(Generic[T]):
    """Both classes."""

    def __init__(self) -> None:
        self.interactive: FairLine[T] = FairLine()
        self.batch: FairLine[T] = FairLine()
        self._passed = 0  # interactive jobs that went before the first batch job

    def __len__(self) -> int:
        return len(self.interactive) + len(self.batch)

    def __iter__(self) -> Iterator[T]:
        yield from self.interactive
        yield from self.batch

    @property
    def callers(self) -> int:
        """That wait; one with work of both classes counts twice."""
        return self.interactive.callers + self.batch.callers

    def line(self, caller: Caller) -> FairLine[T]:
        return self.batch if caller.is_batch else self.interactive

    def add(self, job: T, *, returned: bool = False) -> None:
        self.line(job.caller).add(job, returned=returned)

    def remove(self, job: T) -> bool:
        return self.line(job.caller).remove(job)

    def first(self, *, may_be_batch: bool = True) -> T | None:
        """The job to serve next."""
        batch = self.batch.first() if may_be_batch else None
        if batch is not None and self._passed >= BATCH_PATIENCE:
            return batch
        interactive = self.interactive.first()
        return batch if interactive is None else interactive

    def serve(self, job: T) -> None:
        if job.caller.is_batch:
            self._passed = 0
        elif len(self.batch):
            self._passed += 1
        self.line(job.caller).serve(job)

    def correct(self, job: T, tokens: int) -> None:
        self.line(job.caller).correct(job, tokens)

    def forget(self) -> None:
        for line in (self.interactive, self.batch):
            line.forget()


def _share(job: Waiting, tokens: int) -> float:
    return tokens / max(job.caller.weight, _MIN_WEIGHT)
