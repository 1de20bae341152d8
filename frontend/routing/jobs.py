"""One model's jobs: carries out what `lifecycle.py` decides about each, and logs what a death did."""

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from frontend.errors import EngineCrashed, Overloaded
from frontend.observability.incidents import new_id
from frontend.observability.metrics import ModelMetrics
from frontend.routing.job import Job
from frontend.routing.lifecycle import (
    Action,
    AwaitTrial,
    Dequeue,
    Dispatched,
    Dropped,
    EndTrial,
    Enqueue,
    Event,
    HostDied,
    Recall,
    advance,
)
from frontend.routing.quarantine import Quarantine
from frontend.routing.queue import CallLater, Queue
from frontend.routing.recovery import Blame, Continue, Crash, GiveUp, StartOver, Undecided
from frontend.routing.refusals import Refusals
from frontend.routing.replica import Replica
from frontend.supervision.death import Death

_VERDICTS = (Continue, StartOver, Blame, Undecided, GiveUp)
_request_ids = itertools.count(1)  # unique over all hosts

_TOO_BUSY = (
    "engine hosts got too little CPU time to process this request; try again when the machine is less busy"
)
_BUSY_RETRY_SECONDS = 60

log = logging.getLogger("nacelle.routing")


class Settled(msgspec.Struct, frozen=True):
    """What a death did."""

    death: Death
    incident: str  # the id of its record
    bodies: list[bytes]  # of what the host held
    outcomes: Counter[str]  # by the names of verdicts
    resumed: int  # of those that continue, how many had progress


class Jobs:
    """Those that wait, those that hosts hold, and those on trial."""

    def __init__(self, metrics: ModelMetrics, clock: Callable[[], float], call_later: CallLater) -> None:
        self.replicas: list[Replica] = []
        self.queue = Queue(call_later, _request_ids, self._dispatched)
        self.quarantine = Quarantine()
        self.refusals = Refusals(clock)
        self._metrics = metrics
        self._clock = clock
        self._death: Death | None = None  # that is being settled
        self._incident: str | None = None  # the id of its record
        self.on_settled: Callable[[Settled], None] = lambda _: None
        self.performers: dict[type[Action], Callable[[Job, Any], None]] = {
            Enqueue: lambda job, _: self.queue.add(job),
            AwaitTrial: lambda job, _: self.quarantine.admit(job),
            Dequeue: self._dequeue,
            Recall: self._recall,
            EndTrial: lambda _job, _: self.quarantine.end(),
            Continue: self._continue,
            StartOver: self._start_over,
            Blame: self._blame,
            Undecided: self._undecided,
            GiveUp: self._give_up,
        }

    def apply(self, job: Job, event: Event) -> list[Action]:
        """The one place where a job's state changes."""
        was_ended = job.ended
        job.state, actions = advance(job.state, event)
        if job.ended and not was_ended:
            job.account("abort" if isinstance(event, Dropped) else "error", self._metrics)
        for action in actions:
            self.performers[type(action)](job, action)
        if job.ended and not was_ended:
            self._over(job)
        return actions

    def _over(self, job: Job) -> None:
        """It has ended: what it took replaces what was estimated."""
        prompt, result = job.used_tokens
        if job.sent_at is not None and job.needs_slot and prompt + result:
            self.queue.fair.correct(job, prompt + result)
        if job.on_end is not None:
            job.on_end(prompt, result)
            job.on_end = None

    def _dispatched(self, job: Job, on_trial: bool) -> None:
        if job.sent_at is None:
            job.sent_at = self._clock()
            if job.needs_slot and not job.is_rehearsal:
                self._metrics.queue_seconds.observe(job.sent_at - job.arrived_at)
                kind = "batch" if job.caller.is_batch else "interactive"
                self._metrics.queue_wait(kind).observe(job.sent_at - job.arrived_at)
        self.apply(job, Dispatched(on_trial))

    def __iter__(self) -> "itertools.chain[Job]":
        held = (job for replica in self.replicas for job in list(replica.jobs.values()))
        return itertools.chain(list(self.queue.waiting), list(self.quarantine.waiting), held)

    def pump(self) -> None:
        """Send what can be sent: the next suspect to a room of its own, everything else in order."""
        room = self.quarantine.open_room(self.replicas)
        if room is not None:
            suspect = self.quarantine.waiting[0]
            if self.queue.send(suspect, room, on_trial=True):
                self.quarantine.begin(suspect, room)
        closed = self.quarantine.keeps_free(self.replicas)
        self.queue.send_to([replica for replica in self.replicas if replica is not closed])
        if not self.queue and all(replica.is_vacant for replica in self.replicas):
            self.queue.fair.forget()

    # --- deaths ---

    def settle(self, held: Sequence[Job], death: Death, *, by_refusal: bool = False) -> None:
        """Find what becomes of everything that a host held, and say so in one line of the log.

        `by_refusal`: the host lives and only does not take these now, so that they are sent again until their
        time is over, whatever they are.
        """
        crash = Crash(
            implicates=death.implicates,
            alone=sum(job.needs_slot for job in held) == 1,
            conclusive=not death.starved,
        )
        outcomes: Counter[str] = Counter()
        resumed = 0
        bodies = [job.body for job in held if isinstance(job.body, bytes)]  # which those that end let go
        self._death, self._incident = death, new_id()
        for job in held:
            progress = job.progress
            actions = self.apply(job, HostDied(crash, progress, job.needs_slot or by_refusal))
            outcomes.update(type(action).__name__ for action in actions if isinstance(action, _VERDICTS))
            resumed += progress.point > 0 and any(isinstance(action, Continue) for action in actions)
        self._death = None
        self._log(death, outcomes)
        if not by_refusal:
            self.on_settled(Settled(death, self._incident, bodies, outcomes, resumed))

    def _log(self, death: Death, outcomes: Counter[str]) -> None:
        fields = {
            **death.fields,
            "in_flight": outcomes.total(),
            "continued": outcomes[Continue.__name__],
            "started_over": outcomes[StartOver.__name__],
            "blamed": outcomes[Blame.__name__],
            "undecided": outcomes[Undecided.__name__],
            "given_up": outcomes[GiveUp.__name__],
            "suspects": len(self.quarantine.waiting),
            "queued": len(self.queue),
        }
        level = logging.DEBUG if death.expected or death.permanent else logging.WARNING
        log.log(level, "%s", death.summary, extra=fields)

    # --- one performer per action -------------------------------------------------------------------

    def _dequeue(self, job: Job, _: Action) -> None:
        self.queue.remove(job)
        self.quarantine.remove(job)

    def _recall(self, job: Job, _: Action) -> None:
        for replica in self.replicas:
            replica.recall(job)

    def _continue(self, job: Job, verdict: Continue) -> None:
        point = job.progress.point
        if verdict.by_replay:
            self._metrics.regenerated_tokens.inc(point)
        (self._metrics.resumed if point else self._metrics.restarted).inc()
        job.died_at = self._clock()

    def _start_over(self, job: Job, _: StartOver) -> None:
        self._metrics.restarted.inc()
        self._metrics.regenerated_tokens.inc(job.progress.point)
        job.died_at = self._clock()
        job.start_over()
        job.flush()

    def _blame(self, job: Job, _: Blame) -> None:
        assert self._death is not None
        self._metrics.blamed.inc()
        self.refusals.add(job, self._death.summary, self._incident)
        job.fail(EngineCrashed(self._death.message))

    def _undecided(self, job: Job, _: Undecided) -> None:
        job.fail(Overloaded(_TOO_BUSY, retry_after=_BUSY_RETRY_SECONDS))

    def _give_up(self, job: Job, _: GiveUp) -> None:
        assert self._death is not None
        job.fail(EngineCrashed(self._death.message))
