"""What the router knows of one replica: what it holds, and how loaded it is."""

from collections.abc import Callable
from typing import Protocol

from frontend.routing.choice import Load
from frontend.routing.job import Body, Job
from frontend.routing.prefixes import PrefixMemory
from frontend.spool import Spool
from frontend.supervision.lifecycle import Lifecycle, State
from ipc.arena import Lease
from ipc.messages import INLINE_LIMIT_BYTES, Cancel, ModelCard, Payload, ToHost, Work


class Host(Protocol):
    """What routing and the API need of a supervised host, which may be a process here or elsewhere."""

    @property
    def number(self) -> int:
        """Which replica of its model it is, from 0."""

    @property
    def device(self) -> str: ...

    @property
    def life(self) -> Lifecycle: ...

    @property
    def ready(self) -> bool: ...

    @property
    def takes_jobs(self) -> bool:
        """Whether it ever will: not where another program serves the model, which is asked over HTTP."""

    @property
    def card(self) -> ModelCard | None:
        """None while no model is loaded."""

    @property
    def pid(self) -> int | None:
        """None while there is no process, or none on this machine."""

    @property
    def restarts(self) -> int: ...

    @property
    def leased_bytes(self) -> int:
        """In its request arena."""

    @property
    def resident_bytes(self) -> int: ...

    def send(self, message: ToHost) -> None:
        """Never raises: a host that cannot be reached is dead or about to be."""

    def lease(self, body: Body) -> Lease | None:
        """Put a payload into the request arena, once for all jobs that share it, or only reserve the room
        for an upload; None: no room now."""

    def upload(self, work: Work, spool: Spool, is_wanted: Callable[[], bool]) -> None:
        """Copy an upload into the lease that is the work's payload, without blocking, and send the work then,
        unless nobody wants it any more."""

    def completed(self) -> None:
        """It did useful work: its earlier deaths no longer count."""


def answers(host: Host) -> bool:
    """Whether requests for its model are answered there now, by jobs or over HTTP."""
    return host.ready or (not host.takes_jobs and host.life.state is State.READY)


class Replica:
    """The router's account of one host. Emptied when the host dies."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.jobs: dict[int, Job] = {}  # by the request id that the host knows
        self.prefixes = PrefixMemory()
        self.died_at: float | None = None  # when its last host died, until the next is ready
        self._outstanding = 0

    @property
    def free_slots(self) -> int:
        card = self.host.card
        if card is None or not self.host.ready:
            return 0
        return card.slots - sum(job.needs_slot for job in self.jobs.values())

    @property
    def free_for_batch(self) -> int:
        """Slots that batch jobs may take: one is kept for interactive ones, where there are several."""
        card = self.host.card
        if card is None or card.slots < 2:
            return self.free_slots
        batch = sum(job.needs_slot and job.caller.is_batch for job in self.jobs.values())
        return min(self.free_slots, card.slots - 1 - batch)

    @property
    def is_vacant(self) -> bool:
        """Questions, which take no slot, do not count."""
        return not any(job.needs_slot for job in self.jobs.values())

    def load(self, blocks: list[int], *, is_batch: bool = False) -> Load:
        free = self.free_for_batch if is_batch else self.free_slots
        return Load(self._outstanding, free, self.prefixes.matching(blocks))

    def place(self, body: Body) -> Payload | None:
        """A payload as it crosses: a large one in shared memory; None while that has no room."""
        if len(body) > INLINE_LIMIT_BYTES:
            return self.host.lease(body)
        return body.read() if isinstance(body, Spool) else body

    def send(self, job: Job, work: Work) -> None:
        """Send the work of a job that was assigned."""
        if isinstance(job.body, Spool) and isinstance(work.payload, Lease):
            self.host.upload(work, job.body, lambda: self.jobs.get(work.request_id) is job)
        else:
            self.host.send(work)

    def assign(self, request_id: int, job: Job) -> None:
        self.jobs[request_id] = job
        job.request_id = request_id
        self._outstanding += job.cost

    def unassign(self, job: Job) -> bool:
        """Forget a job; whether it was here."""
        if job.request_id is None or self.jobs.get(job.request_id) is not job:
            return False
        del self.jobs[job.request_id]
        job.request_id = None
        self._outstanding -= job.cost
        return True

    def recall(self, job: Job) -> None:
        """Take a job back from the host, where it is here."""
        request_id = job.request_id
        if self.unassign(job) and request_id is not None:
            self.host.send(Cancel(request_id))

    def empty(self) -> list[Job]:
        """The host is gone: what it held."""
        held = list(self.jobs.values())
        for job in held:
            job.request_id = None
        self.jobs.clear()
        self._outstanding = 0
        self.prefixes.forget()
        return held
