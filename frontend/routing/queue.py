"""What waits for a model, in order of arrival, and its way to a replica."""

import itertools
from bisect import insort
from collections.abc import Callable, Sequence

from frontend.errors import Overloaded
from frontend.routing.choice import choose
from frontend.routing.job import Job
from frontend.routing.replica import Replica

ARENA_WAIT_SECONDS = 30.0

CallLater = Callable[[float, Callable[[], None]], object]


class Queue:
    """Ordered by arrival: what returns from a dead host returns to its place. Jobs that need no slot come
    first, as they never wait for one."""

    def __init__(
        self,
        call_later: CallLater,
        request_ids: "itertools.count[int]",
        dispatched: Callable[[Job, bool], None],
    ) -> None:
        """`dispatched(job, on_trial)` is called for what was sent."""
        self.waiting: list[Job] = []
        self._call_later = call_later
        self._request_ids = request_ids
        self._dispatched = dispatched

    def add(self, job: Job) -> None:
        insort(self.waiting, job, key=lambda other: (other.needs_slot, other.arrived_at))

    def remove(self, job: Job) -> None:
        if job in self.waiting:
            self.waiting.remove(job)

    def send_to(self, replicas: Sequence[Replica]) -> None:
        """Send in order while one of `replicas` has room. A job that waits for room in shared memory holds up
        those behind it, or it would wait for ever."""
        while self.waiting and self._send_first(replicas):
            pass

    def _send_first(self, replicas: Sequence[Replica]) -> bool:
        job = self.waiting[0]
        if not job.needs_slot:
            ready = next((replica for replica in replicas if replica.host.ready), None)
            return ready is not None and self.send(job, ready)
        # With one replica there is nothing to choose and no prefix to know.
        blocks = job.prefix if len(replicas) > 1 else []
        index = choose([replica.load(blocks) for replica in replicas])
        if index is None or not self.send(job, replicas[index]):
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
