"""One model's traffic: what comes from the API, from its hosts, and from their deaths."""

import asyncio
import itertools
from collections.abc import Callable

from frontend.config import ModelSettings
from frontend.errors import ModelUnavailable, QueueFull, RequestBlamed, ServerError
from frontend.observability.metrics import Metrics
from frontend.routing.aftermath import Aftermath
from frontend.routing.arrivals import Arrivals
from frontend.routing.backlog import Backlog, CallLater
from frontend.routing.choice import retry_after_seconds
from frontend.routing.generation import Generation
from frontend.routing.journal import Phase
from frontend.routing.quarantine import Quarantine
from frontend.routing.queries import Answer, Queries, Question
from frontend.routing.refusals import Refusals
from frontend.routing.replica import Host, Replica
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import HALF_OPEN_SECONDS, State
from ipc.messages import Gauges, ModelCard

_HOPELESS = (State.FAILED, State.STOPPED)
_request_ids = itertools.count(1)  # unique over all hosts


class ModelRoute:
    """Everything between the API and the replicas of one model. Times are seconds of `clock`."""

    def __init__(
        self,
        settings: ModelSettings,
        max_queue: int,
        metrics: Metrics,
        clock: Callable[[], float],
        call_later: CallLater,
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.replicas: list[Replica] = []
        self.backlog = Backlog(call_later, _request_ids)
        self._queries = Queries(_request_ids, self._measure)
        self.quarantine = Quarantine()
        self._refusals = Refusals(clock)
        self._max_queue = max_queue
        self._clock = clock
        self._metrics = metrics.of_model(settings.name)
        self._aftermath = Aftermath(self.backlog, self.quarantine, self._refusals, self._metrics, clock)
        self.arrivals = Arrivals(
            self.backlog, self.quarantine, self._queries, self._metrics, clock, self.pump
        )

    def add(self, host: Host) -> Replica:
        self.replicas.append(Replica(host))
        return self.replicas[-1]

    # --- from the API ---

    def submit(self, generation: Generation) -> None:
        """Queue all sequences or none. Raises QueueFull, ModelUnavailable or RequestBlamed."""
        self._check_available()
        for sequence in generation.sequences:
            if reason := self._refusals.reason(sequence.spec):
                self._metrics.refused.inc()
                raise RequestBlamed(
                    f"this request is refused for a while, because it kills engines: {reason}"
                )
        free = sum(replica.free_slots for replica in self.replicas)
        waiting = len(self.backlog.waiting)
        if waiting + len(generation.sequences) > self._max_queue + free:
            slots = sum(r.host.card.max_num_seqs for r in self.replicas if r.host.card)
            wait = retry_after_seconds(waiting, slots, self.arrivals.mean_seconds)
            raise QueueFull(f"{self.name} has {waiting} requests waiting", retry_after=wait)
        for sequence in generation.sequences:
            self.backlog.add(sequence)
        self.pump()

    def card(self) -> "asyncio.Future[ModelCard]":
        """What the model can do, as soon as a replica has been ready. Raises QueueFull, ModelUnavailable."""
        self._check_available()
        if not self._queries.knows_card:
            self._check_questions()
        return self._queries.card()

    def ask(self, question: Question, encoded_bytes: int) -> "asyncio.Future[Answer]":
        """Ask a host, as soon as one is ready. Raises QueueFull or ModelUnavailable."""
        self._check_available()
        self._check_questions()
        answer = self._queries.add(question, encoded_bytes)
        self.pump()
        return answer

    def _check_questions(self) -> None:
        if len(self._queries) >= self._max_queue:
            raise QueueFull(f"{self.name} has {len(self._queries)} questions waiting", retry_after=1)

    def abandon(self, generation: Generation) -> None:
        """Forget a generation's sequences, wherever they are."""
        for sequence in generation.sequences:
            self.backlog.remove(sequence)
            self.quarantine.remove(sequence)
            if sequence is self.quarantine.tried:
                self.quarantine.end()
            sequence.journal.phase = Phase.ENDED
        for replica in self.replicas:
            for request_id in replica.request_ids(generation):
                replica.withdraw(request_id)
        self.pump()

    def pump(self) -> None:
        """Send what can be sent: the next suspect to a room of its own, everything else in order."""
        room = self.quarantine.open_room(self.replicas)
        if room is not None and self.backlog.send(self.quarantine.waiting[0], room):
            self.quarantine.begin(room)
        closed = self.quarantine.keeps_free(self.replicas)
        open_ones = [replica for replica in self.replicas if replica is not closed]
        self._queries.send_to(open_ones)
        self.backlog.send_to(open_ones)
        self._measure()

    def _measure(self) -> None:
        waiting = len(self.backlog.waiting) + len(self.quarantine.waiting) + len(self._queries)
        self._metrics.queued.set(waiting)
        self._metrics.on_trial.set(self.quarantine.tried is not None)

    # --- deaths ---

    def died(self, replica: Replica, death: Death) -> bool:
        """Find what becomes of everything the host held. Returns whether the death counts against the
        replica: not while a suspect was tried alone, which is what a quarantine is for."""
        replica.died_at = None if death.expected else self._clock()
        was_trial = replica is self.quarantine.room
        if was_trial:
            self.quarantine.end()
        self.arrivals.take(replica, Gauges(0, 0, 0.0))
        self._queries.died(replica, death)
        self._aftermath.settle(replica.empty(), death)
        return not was_trial

    # --- availability ---

    def changed(self) -> None:
        """A replica's state changed: send what now can be sent, refuse what never will."""
        try:
            self._check_available()
        except ServerError as error:
            self.fail_all(error)
        self.pump()

    def _check_available(self) -> None:
        lives = [replica.host.life for replica in self.replicas]
        if all(life.state in _HOPELESS or life.stopping for life in lives):
            reason = next((life.reason for life in lives if life.reason), "it is being stopped")
            raise ModelUnavailable(
                f"{self.name} is not available: {reason}", retry_after=round(HALF_OPEN_SECONDS)
            )

    def fail_all(self, error: ServerError) -> None:
        """End everything, waiting or running, with `error`."""
        held = [sequence for replica in self.replicas for sequence in replica.sequences.values()]
        for sequence in [*self.backlog.waiting, *self.quarantine.waiting, *held]:
            sequence.generation.cancel(error)
        self._queries.fail_all(error)
