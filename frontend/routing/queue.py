"""What waits for a model, and its way to a replica."""

import itertools
from bisect import insort
from collections.abc import Callable, Sequence

from frontend.errors import Overloaded
from frontend.routing.choice import choose
from frontend.routing.fair import FairQueue
from frontend.routing.job import Job
from frontend.routing.replica import Replica

ARENA_WAIT_SECONDS = 30.0

CallLater = Callable[[float, Callable[[], None]], object]


class Queue:
    """Jobs that need no slot come first, as they never wait for one; then what lost its host, in order of
    arrival; then everything else as `fair.py` decides."""

    def __init__(
        self,
        call_later: CallLater,
        request_ids: "itertools.count[int]",
        dispatched: Callable[[Job, bool], None],
    ) -> None:
        """`dispatched(job, on_trial)` is called for what was sent."""
        self.fair: FairQueue[Job] = FairQueue()  # of the jobs that need a slot
        self.questions: list[Job] = []  # those that need none, in order of arrival
        self._stuck: Job | None = None  # the job whose turn it is, while it has no room in shared memory
        self._call_later = call_later
        self._request_ids = request_ids
        self._dispatched = dispatched

    def __len__(self) -> int:
        return len(self.questions) + len(self.fair)

    @property
    def waiting(self) -> list[Job]:
        """All jobs."""
        return [*self.questions, *self.fair]

    def add(self, job: Job) -> None:
        if job.needs_slot:
            self.fair.add(job, returned=job.sent_at is not None)
        else:
            insort(self.questions, job, key=lambda other: other.arrived_at)

    def remove(self, job: Job) -> None:
        if job is self._stuck:
            self._stuck = None
        if job.needs_slot:
            self.fair.remove(job)
        elif job in self.questions:
            self.questions.remove(job)

    def send_to(self, replicas: Sequence[Replica]) -> None:
        """Send in order while one of `replicas` has room. A job that waits for room in shared memory holds up
        those behind it, or it would wait for ever."""
        while self and self._send_first(replicas):
            pass

    def _send_first(self, replicas: Sequence[Replica]) -> bool:
        if self.questions:
            ready = next((replica for replica in replicas if replica.host.ready), None)
            return ready is not None and self.send(self.questions[0], ready)
        may_be_batch = any(replica.free_for_batch > 0 for replica in replicas)
        job = self._stuck
        if job is None or (job.caller.is_batch and not may_be_batch):
            job = self.fair.first(may_be_batch=may_be_batch)
        if job is None:
            return False
        # With one replica there is nothing to choose and no prefix to know.
        blocks = job.prefix if len(replicas) > 1 else []
        index = choose([replica.load(blocks, is_batch=job.caller.is_batch) for replica in replicas])
        if index is None:
            return False
        if not self.send(job, replicas[index]):
            self._stuck = job
            return False
        replicas[index].prefixes.remember(blocks)
        return True

    def send(self, job: Job, replica: Replica, on_trial: bool = False) -> bool:
        """Send one job, with the progress it has; False while its payload has no room in the arena."""
        payload = replica.place(job.body)
        if payload is None:
            self._wait_for_room(job)
            return False
        job.waits_for_room = None
        request_id = next(self._request_ids)
        replica.assign(request_id, job)
        if job.needs_slot and job.sent_at is None and not job.is_rehearsal:
            self.fair.serve(job)
        self._dispatched(job, on_trial)
        replica.send(job, job.message(request_id, payload))
        return True

    def _wait_for_room(self, job: Job) -> None:
        if job.waits_for_room is None:
            wait = job.waits_for_room = object()
            self._call_later(ARENA_WAIT_SECONDS, lambda: _give_up_waiting(job, wait))


def _give_up_waiting(job: Job, wait: object) -> None:
    if job.waits_for_room is wait:  # it was not sent meanwhile, and its host did not die
        job.fail(Overloaded("no room in shared memory for this request"))
