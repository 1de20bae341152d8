"""What a model's hosts report: checked, measured, passed on to the job it is about."""

from collections.abc import Callable, Sequence
from typing import Any

from frontend.errors import ServerError, from_host
from frontend.observability.metrics import ModelMetrics
from frontend.routing.job import Job
from frontend.routing.jobs import Jobs
from frontend.routing.lifecycle import Ended, Phase, Replied
from frontend.routing.replica import Replica
from ipc.channel import ChannelError
from ipc.continuation import Continuation
from ipc.messages import Failed, Fatal, Gauges, ModelCard, Ready, Release, Reply, ToFrontend

_MEAN_WEIGHT = 0.1  # of the newest job in the running mean of their times


class Arrivals:
    """One model's. Times are seconds of `clock`."""

    def __init__(
        self,
        jobs: Jobs,
        metrics: ModelMetrics,
        clock: Callable[[], float],
        pump: Callable[[], None],
        ready: Callable[[Replica, ModelCard], None],
    ) -> None:
        """`pump` sends what there is room for now. `ready` gets a replica that became ready."""
        self._jobs = jobs
        self._metrics = metrics
        self._clock = clock
        self._pump = pump
        self._on_ready = ready
        self._room_made = False
        self.mean_seconds = 1.0  # of a job, from its arrival to its end
        self.handlers: dict[type[ToFrontend], Callable[[Replica, Any], None]] = {
            Ready: self._ready,
            Failed: self._failed,
            Release: self._released,
            Gauges: self._gauges,
            Fatal: lambda _replica, _message: None,  # the death that follows reports it
        }

    def take(self, replica: Replica, messages: Sequence[ToFrontend]) -> None:
        """Handle all messages of one frame, then tell those who wait, once each.

        Raises ChannelError where a message cannot be true.
        """
        now = self._clock()
        touched: dict[Job, None] = {}
        try:
            for message in messages:
                if isinstance(message, Reply):
                    job = replica.jobs.get(message.request_id)
                    if job is not None:  # else it was cancelled while this was on its way
                        touched[job] = None
                        self._reply(replica, job, message, now)
                else:
                    self.handlers[type(message)](replica, message)
        finally:  # also of what came before a message that cannot be true
            for job in touched:
                job.flush()
        if self._room_made:
            self._room_made = False
            self._pump()

    def _reply(self, replica: Replica, job: Job, reply: Reply, now: float) -> None:
        """The hot path: once per engine step and running job."""
        assert replica.host.card is not None
        if not isinstance(reply, job.work.answers):
            raise ChannelError(f"{type(reply).__name__} is not an answer to {type(job.work).__name__}")
        try:
            reply.check(replica.host.card)
        except ValueError as error:
            raise ChannelError(str(error)) from error
        if job.state.phase is not Phase.ABANDONED:
            job.take(reply, now, self._metrics)
        ends = reply.ends
        if job.died_at is not None and (ends or reply.units):
            self._metrics.recovery_seconds.observe(now - job.died_at)
            job.died_at = None
        if ends:
            replica.host.completed()
            self._end(replica, job, now)
        elif job.state.on_trial or job.state.phase is Phase.SENT:
            progress = job.progress
            # One that cannot be continued stays where it is, and the others wait for its end.
            yields = bool(self._jobs.quarantine.waiting) and progress.continuation is not Continuation.NONE
            actions = self._jobs.apply(job, Replied(progress.point, others_wait=yields))
            self._room_made = self._room_made or bool(actions)

    def _end(self, replica: Replica, job: Job, now: float) -> None:
        replica.unassign(job)
        self._jobs.apply(job, Ended())
        self._room_made = True
        if job.needs_slot and not job.is_rehearsal:
            seconds = now - job.arrived_at
            self._metrics.request_seconds.observe(seconds)
            self.mean_seconds += _MEAN_WEIGHT * (seconds - self.mean_seconds)

    def _failed(self, replica: Replica, message: Failed) -> None:
        self.failed(replica, message.request_id, from_host(message.error))

    def failed(self, replica: Replica, request_id: int, error: ServerError) -> None:
        """A job of the replica's ends with an error."""
        job = replica.jobs.get(request_id)
        if job is not None:
            abandoned = job.state.phase is Phase.ABANDONED
            self._end(replica, job, self._clock())
            if not abandoned:
                job.fail(error)

    def _ready(self, replica: Replica, message: Ready[ModelCard]) -> None:
        if replica.died_at is not None:
            self._metrics.host_recovery_seconds.observe(self._clock() - replica.died_at)
            replica.died_at = None
        self._on_ready(replica, message.card)
        self._room_made = True

    def _released(self, _replica: Replica, _message: Release) -> None:
        self._room_made = True

    def _gauges(self, replica: Replica, message: Gauges) -> None:
        gauges = self._metrics.of_replica(replica.host.number)
        gauges.running.set(message.running)
        gauges.waiting.set(message.waiting)
        gauges.kv_usage.set(message.kv_usage)
