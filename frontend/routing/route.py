"""One model's traffic: what comes from the API, from its hosts, and from their deaths."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from frontend.caller import Caller
from frontend.config import ModelSettings
from frontend.errors import BadRequest, EngineCrashed, ModelUnavailable, QueueFull, RequestBlamed, ServerError
from frontend.observability.metrics import ModelMetrics
from frontend.routing.arrivals import Arrivals
from frontend.routing.choice import retry_after_seconds
from frontend.routing.job import Job
from frontend.routing.jobs import Jobs
from frontend.routing.lifecycle import Dropped, Submitted
from frontend.routing.queue import CallLater
from frontend.routing.rehearsal import Rehearsals
from frontend.routing.replica import Host, Replica
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import HALF_OPEN_SECONDS, State
from ipc.messages import Gauges, ModelCard, ToFrontend

_POLL_SECONDS = 0.1
_HOPELESS = (State.FAILED, State.STOPPED)


class Route(Protocol):
    """A model as the API sees it: not loaded, loading, ready, or somewhere else."""

    settings: ModelSettings

    @property
    def name(self) -> str: ...

    @property
    def hosts(self) -> Sequence[Host]: ...

    @property
    def last_card(self) -> ModelCard | None:
        """Of the replica that became ready last; kept while the model is not loaded."""

    def card(self) -> "asyncio.Future[ModelCard]":
        """What the model can do, as soon as it is loaded: the way to wait for it. Raises QueueFull,
        ModelUnavailable."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take in all jobs or none. Raises QueueFull, ModelUnavailable or RequestBlamed."""

    def drop(self, jobs: Sequence[Job]) -> None:
        """Forget jobs, wherever they are."""

    def fail_all(self, error: ServerError) -> None:
        """End everything, waiting or running, with `error`."""

    def measure(self) -> None:
        """Bring up to date the metrics that are cheaper to read than to keep."""


async def wait_until_idle(route: Route | None, seconds: float) -> None:
    """Until a route's hosts have finished what they hold, or that time is over."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while getattr(route, "running", 0) and loop.time() < deadline:  # noqa: ASYNC110 - hosts may be elsewhere
        await asyncio.sleep(_POLL_SECONDS)


class Loader(Protocol):
    """Who loads a model when it is wanted, and unloads it."""

    wait_seconds: float  # for which a request waits for a model that is not loaded

    def worked(self, name: str, waiting: bool, running: bool) -> None:
        """Whether requests wait for a model or run there has changed."""

    def check(self, name: str) -> None:
        """Raises ModelUnavailable if a model that is not loaded will not be, whoever wants it."""

    def waited(self, name: str) -> ServerError:
        """The answer to a request that has waited for a model too long."""


class LocalRoute:
    """A model with replicas on this machine. Times are seconds of `clock`."""

    def __init__(
        self,
        settings: ModelSettings,
        max_queue: int,
        metrics: ModelMetrics,
        clock: Callable[[], float],
        call_later: CallLater,
    ) -> None:
        """`max_queue`: jobs that may wait, and again as many that need no slot."""
        self.settings = settings
        self.jobs = Jobs(metrics, clock, call_later)
        self.replicas = self.jobs.replicas
        self.arrivals = Arrivals(self.jobs, metrics, clock, self.pump, self._ready)
        self.last_card: ModelCard | None = None
        self.loader: Loader | None = None
        self.rehearsals: Rehearsals | None = None  # of hosts that cache prefixes
        self._closed = False
        self._work = (False, False)
        self._away_since: float | None = None  # since when nothing could be sent to a host
        self._card_waiters: dict[asyncio.Future[ModelCard], float] = {}  # with the times of their arrival
        self._max_queue = max_queue  # of the server
        self._clock = clock
        self._metrics = metrics
        self._call_later = call_later

    @property
    def name(self) -> str:
        return self.settings.name

    def now(self) -> float:
        """Seconds of the clock."""
        return self._clock()

    @property
    def hosts(self) -> list[Host]:
        return [replica.host for replica in self.replicas]

    @property
    def max_queue(self) -> int:
        own = self.settings.max_waiting
        return self._max_queue if own is None else own

    @max_queue.setter
    def max_queue(self, of_server: int) -> None:
        self._max_queue = of_server

    @property
    def running(self) -> int:
        """Jobs of clients that hosts hold."""
        return sum(not job.is_rehearsal for replica in self.replicas for job in replica.jobs.values())

    @property
    def queued(self) -> int:
        """What waits: jobs, and requests that wait for the card."""
        return len(self.jobs.queue) + len(self.jobs.quarantine.waiting) + len(self._card_waiters)

    def add(self, host: Host) -> Replica:
        self.replicas.append(Replica(host))
        return self.replicas[-1]

    # --- from the API ---

    def submit(self, jobs: Sequence[Job]) -> None:
        self._check_available()
        if self.rehearsals is not None and jobs[0].needs_slot:
            self.rehearsals.give_way()
        for job in jobs:
            if reason := self.jobs.refusals.reason(job):
                self._metrics.refused.inc()
                raise RequestBlamed(
                    f"this request is refused for a while, because it kills engines: {reason}"
                )
        slotless = sum(not job.needs_slot for job in jobs)
        self._check_queue(jobs[0].caller, len(jobs) - slotless)
        if slotless:
            self._check_questions(slotless)
        if self.rehearsals is not None:
            self.rehearsals.remember(jobs[0])
        for job in jobs:
            self.jobs.apply(job, Submitted())
        self.pump()

    def drop(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.jobs.apply(job, Dropped(cancellable=job.needs_slot))
        self.pump()

    def card(self) -> "asyncio.Future[ModelCard]":
        self._check_available()
        card: asyncio.Future[ModelCard] = asyncio.get_running_loop().create_future()
        if self.last_card is not None:
            card.set_result(self.last_card)
        else:
            self._check_questions(1)
            self._card_waiters[card] = self._clock()
            card.add_done_callback(self._forget_waiter)
            self._measure_queue()
        return card

    def fail_all(self, error: ServerError) -> None:
        for job in self.jobs:
            self.jobs.apply(job, Dropped(cancellable=job.needs_slot))
            job.fail(error)
        for waiter in list(self._card_waiters):
            del self._card_waiters[waiter]
            if not waiter.done():
                waiter.set_exception(error)
        self._measure_queue()

    def _check_queue(self, caller: Caller, more: int) -> None:
        """Raises QueueFull where the queue is full, unless this caller has less than its share in it."""
        fair = self.jobs.queue.fair
        room = self.max_queue + sum(replica.free_slots for replica in self.replicas)
        if not more or len(fair) + more <= room:
            return
        own = fair.line(caller).of(caller.key_id)
        share = self.max_queue // (fair.callers + (own == 0))
        if own + more <= share and len(fair) + more <= room + self.max_queue:
            return
        slots = sum(host.card.slots for host in self.hosts if host.card)
        wait = retry_after_seconds(len(fair), slots, self.arrivals.mean_seconds)
        raise QueueFull(f"{self.name} has {len(fair)} requests waiting", retry_after=wait)

    def _check_questions(self, more: int) -> None:
        """What needs no slot is bounded wherever it is: hosts answer it in turn."""
        questions = self._questions
        if questions + more > self.max_queue:
            raise QueueFull(f"{self.name} has {questions} questions waiting", retry_after=1)

    @property
    def _questions(self) -> int:
        held = sum(not job.needs_slot for replica in self.replicas for job in replica.jobs.values())
        return len(self._card_waiters) + len(self.jobs.queue.questions) + held

    # --- from the hosts ---

    def take(self, replica: Replica, messages: Sequence[ToFrontend]) -> None:
        """A frame of a host's messages. Raises ChannelError where one cannot be true."""
        self.arrivals.take(replica, messages)

    def died(self, replica: Replica, death: Death) -> bool:
        """Find what becomes of everything the host held. Returns whether the death counts against the
        replica: not while a suspect was tried alone, which is what a quarantine is for."""
        replica.died_at = None if death.expected else self._clock()
        was_trial = replica is self.jobs.quarantine.room
        self.arrivals.take(replica, [Gauges(0, 0)])
        held = replica.empty()
        self.jobs.settle(held if self.rehearsals is None else self.rehearsals.died(held), death)
        return not was_trial

    def rejected(self, replica: Replica, request_id: int, error: ServerError, death: Death | None) -> None:
        """A replica does not do the work of a request. With `death`, which stands for the end of this job's
        stay there, another replica may; else the job ends with the error."""
        job = replica.jobs.get(request_id)
        if job is None:
            return
        if death is not None:
            replica.unassign(job)
            self.jobs.settle([job], death, by_refusal=True)
        else:
            if isinstance(error, EngineCrashed):
                self.jobs.refusals.add(job, error.message)
            self.arrivals.failed(replica, request_id, error)
        self.pump()

    def changed(self) -> None:
        """A replica's state changed: send what now can be sent, refuse what never will."""
        try:
            self._check_available()
        except BadRequest:  # it came too early to be asked over HTTP
            self.fail_all(ModelUnavailable(f"{self.name} was not connected yet; try again", retry_after=1))
        except ServerError as error:
            self.fail_all(error)
        self.pump()

    def pump(self) -> None:
        if not self._closed:
            self.jobs.pump()
            if self.rehearsals is not None:
                self.rehearsals.pump()
        self._measure_queue()

    def rehearse(self) -> None:
        """From now on hosts that have lost their caches prefill again what was used lately."""
        if self.rehearsals is None:
            self.rehearsals = Rehearsals(self.jobs, self._metrics, self._clock, self._call_later)

    def close(self, closed: bool) -> None:
        """While it is closed, its hosts finish what they have, and everything else waits."""
        self._closed = closed
        if closed and self.rehearsals is not None:
            self.rehearsals.stop()
        self.pump()

    def answer_impatient(self, limit_seconds: float, error: ServerError) -> None:
        """Answer what has waited for so long while nothing could be sent to any host."""
        if self._away_since is None:
            return
        latest = self._clock() - limit_seconds
        if self._away_since > latest:
            return
        for job in [job for job in self.jobs.queue.waiting if job.arrived_at <= latest]:
            self.jobs.apply(job, Dropped(cancellable=job.needs_slot))
            job.fail(error)
        for waiter in [waiter for waiter, since in self._card_waiters.items() if since <= latest]:
            if not waiter.done():
                waiter.set_exception(error)
        self._measure_queue()

    def measure(self) -> None:
        for host in self.hosts:
            gauges = self._metrics.of_replica(host.number)
            gauges.leased_bytes("request").set(host.leased_bytes)
            gauges.resident_bytes.set(host.resident_bytes)

    def _ready(self, replica: Replica, card: ModelCard) -> None:
        self.last_card = card
        if self.rehearsals is not None:
            self.rehearsals.ready(replica)
        for waiter in list(self._card_waiters):
            if not waiter.done():
                waiter.set_result(card)

    def _forget_waiter(self, waiter: "asyncio.Future[ModelCard]") -> None:
        self._card_waiters.pop(waiter, None)
        self._measure_queue()

    def _measure_queue(self) -> None:
        suspects = len(self.jobs.quarantine.waiting)
        self._metrics.queued.set(len(self.jobs.queue.fair) + suspects + self._questions)
        self._metrics.on_trial.set(self.jobs.quarantine.tried is not None)
        self._tell_loader(self.queued > 0)

    def _tell_loader(self, waiting: bool) -> None:
        if self.loader is None:
            return
        if not self._closed and any(host.ready for host in self.hosts):
            self._away_since = None
        elif self._away_since is None:
            self._away_since = self._clock()
        running = (job for replica in self.replicas for job in replica.jobs.values())
        work = (waiting, any(not job.is_rehearsal for job in running))
        if work != self._work:
            self._work = work
            self.loader.worked(self.name, *work)

    def _check_available(self) -> None:
        lives = [host.life for host in self.hosts if host.takes_jobs]
        if not lives and self.hosts:
            raise BadRequest(
                f"{self.name} is served by another server, which this endpoint cannot reach", "model"
            )
        if all(life.state in _HOPELESS or life.stopping for life in lives):
            if self.loader is not None:
                self.loader.check(self.name)
                return
            reason = next((life.reason for life in lives if life.reason), "it is being stopped")
            raise ModelUnavailable(
                f"{self.name} is not available: {reason}", retry_after=round(HALF_OPEN_SECONDS)
            )
