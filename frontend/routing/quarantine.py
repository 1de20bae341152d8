"""Where suspects are tried: alone, one at a time, on a replica that nobody else uses meanwhile."""

from bisect import insort
from collections.abc import Sequence

from frontend.routing.job import Job
from frontend.routing.replica import Replica
from frontend.supervision.lifecycle import State

_COMING = (State.STARTING, State.LOADING, State.BACKOFF)


class Quarantine:
    """The suspects of one model."""

    def __init__(self) -> None:
        self.waiting: list[Job] = []  # in the order in which they are to be tried
        self.tried: Job | None = None
        self.room: Replica | None = None

    def admit(self, job: Job) -> None:
        insort(self.waiting, job, key=_order)

    def begin(self, job: Job, room: Replica) -> None:
        self.tried, self.room = job, room

    def end(self) -> None:
        """The trial is over, whatever came of it."""
        self.tried = self.room = None

    def remove(self, job: Job) -> None:
        if job in self.waiting:
            self.waiting.remove(job)

    def open_room(self, replicas: Sequence[Replica]) -> Replica | None:
        """A replica for the next trial: one that is ready and empty."""
        if self.tried is not None or not self.waiting:
            return None
        return next((replica for replica in replicas if replica.host.ready and replica.is_vacant), None)

    def keeps_free(self, replicas: Sequence[Replica]) -> Replica | None:
        """The replica that gets nothing else: the trial's; or, where suspects wait and no host is coming up
        that will be empty anyway, the one with the least to finish."""
        if self.tried is not None or not self.waiting:
            return self.room
        if any(replica.host.life.state in _COMING for replica in replicas):
            return None
        ready = [replica for replica in replicas if replica.host.ready]
        return min(ready, key=lambda replica: len(replica.jobs), default=None)


def _order(job: Job) -> tuple[bool, int]:
    """Who has died alone comes first, to be blamed or cleared; then the quickest trial."""
    never_alone = not job.state.suspicion.alone_at
    return never_alone, job.trial_cost
