"""One model's traffic: what comes from the API, from its hosts, and from their deaths."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

from frontend.config import ModelSettings
from frontend.errors import ModelUnavailable, QueueFull, RequestBlamed, ServerError, from_host
from frontend.observability.metrics import Metrics
from frontend.routing.aftermath import Aftermath
from frontend.routing.arrivals import Arrivals, check_delta
from frontend.routing.backlog import Backlog, CallLater
from frontend.routing.choice import retry_after_seconds
from frontend.routing.generation import Generation, Output, Sequence
from frontend.routing.journal import Phase
from frontend.routing.quarantine import Quarantine
from frontend.routing.queries import Answer, Queries, Question
from frontend.routing.refusals import Refusals
from frontend.routing.replica import Host, Replica
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import HALF_OPEN_SECONDS, State
from ipc.messages import (
    Accepted,
    Cancel,
    Completed,
    Detokenized,
    Failed,
    Fatal,
    Gauges,
    ModelCard,
    Ready,
    Release,
    Step,
    ToFrontend,
    Tokenized,
)

_HOPELESS = (State.FAILED, State.STOPPED)
_request_ids = itertools.count(1)  # unique over all hosts

_MEAN_WEIGHT = 0.1  # of the newest request in the running mean of request times


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
        self._arrivals = Arrivals(self._metrics)
        self._mean_seconds = 1.0
        # By the type of what a host says. A handler raises ChannelError where a message cannot be true.
        self.handlers: dict[type[ToFrontend], Callable[[Replica, Any], None]] = {
            Ready: self._ready,
            Accepted: self._accepted,
            Tokenized: self._answered,
            Detokenized: self._answered,
            Step: self._step,
            Completed: self._completed,
            Failed: self._failed,
            Release: lambda _replica, _message: self.pump(),
            Gauges: self._gauges,
            Fatal: lambda _replica, _message: None,  # the death that follows tells it
        }

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
            wait = retry_after_seconds(waiting, slots, self._mean_seconds)
            raise QueueFull(f"{self.name} has {waiting} requests waiting", retry_after=wait)
        for sequence in generation.sequences:
            self.backlog.add(sequence)
        self.pump()

    def card(self) -> "asyncio.Future[ModelCard]":
        """What the model can do, as soon as a replica has been ready. Raises QueueFull, ModelUnavailable."""
        self._check_questions()
        return self._queries.card()

    def ask(self, question: Question, encoded_bytes: int) -> "asyncio.Future[Answer]":
        """Ask a host, as soon as one is ready. Raises QueueFull or ModelUnavailable."""
        self._check_questions()
        answer = self._queries.add(question, encoded_bytes)
        self.pump()
        return answer

    def _check_questions(self) -> None:
        self._check_available()
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
                self._withdraw(replica, request_id)
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

    def _withdraw(self, replica: Replica, request_id: int) -> None:
        replica.unassign(request_id)
        replica.host.send(Cancel(request_id))

    # --- from the hosts ---

    def _ready(self, replica: Replica, message: Ready) -> None:
        if replica.died_at is not None:
            self._metrics.host_recovery_seconds.observe(self._clock() - replica.died_at)
            replica.died_at = None
        self._queries.ready(message.card)
        self.pump()

    def _accepted(self, replica: Replica, message: Accepted) -> None:
        sequence = replica.sequences.get(message.request_id)
        if sequence is None or sequence.journal.phase is not Phase.SENT:
            return
        sequence.journal.phase = Phase.GENERATING
        if sequence.journal.prompt_tokens is None:  # not sent again after a death
            sequence.journal.prompt_tokens = message.prompt_tokens
            sequence.journal.prompt_tail = message.prompt_tail
            sequence.journal.prompt_token_ids = message.prompt_token_ids
            self._metrics.prompt_tokens.inc(message.prompt_tokens)
            sequence.generation.sequence_accepted()

    def _step(self, replica: Replica, message: Step) -> None:
        assert replica.host.card is not None
        vocab_size = replica.host.card.vocab_size
        now = self._clock()
        produced = 0
        for delta in message.deltas:
            check_delta(delta, vocab_size)
            sequence = replica.sequences.get(delta.request_id)
            if sequence is None:
                continue  # cancelled while this was on its way
            produced += len(delta.token_ids)
            self._arrivals.take(sequence, delta, now)
            if sequence is self.quarantine.tried:
                self._end_trial_if_passed(replica, delta.request_id, sequence)
        self._metrics.generated_tokens.inc(produced)

    def _end_trial_if_passed(self, replica: Replica, request_id: int, sequence: Sequence) -> None:
        """An innocent goes back among the others; if nobody else is to be tried, it stays where it is."""
        if not self.quarantine.passes(sequence):
            return
        self.quarantine.end()
        if self.quarantine.waiting:
            self._withdraw(replica, request_id)
            self.backlog.add(sequence)
        self.pump()

    def _completed(self, replica: Replica, message: Completed) -> None:
        sequence = self._end(replica, message.request_id)
        if sequence is not None:
            if not sequence.journal.deaths:  # else the cache of another host
                sequence.journal.cached_tokens = message.cached_tokens
            sequence.generation.push(Output(sequence.choice, "", message.finish_reason, stop=message.stop))
        self.pump()

    def _answered(self, _replica: Replica, message: Answer) -> None:
        self._queries.answered(message)

    def _failed(self, replica: Replica, message: Failed) -> None:
        if self._queries.answered(message):
            return
        sequence = self._end(replica, message.request_id)
        if sequence is not None:
            sequence.generation.cancel(from_host(message.error))
        self.pump()

    def _end(self, replica: Replica, request_id: int) -> Sequence | None:
        sequence = replica.unassign(request_id)
        if sequence is not None:
            if sequence is self.quarantine.tried:
                self.quarantine.end()
            sequence.journal.phase = Phase.ENDED
            seconds = self._clock() - sequence.journal.arrived_at
            self._metrics.request_seconds.observe(seconds)
            self._mean_seconds += _MEAN_WEIGHT * (seconds - self._mean_seconds)
        return sequence

    def _gauges(self, replica: Replica, message: Gauges) -> None:
        gauges = self._metrics.of_replica(replica.host.number)
        gauges.running.set(message.running)
        gauges.waiting.set(message.waiting)
        gauges.kv_usage.set(message.kv_usage)

    # --- deaths ---

    def died(self, replica: Replica, death: Death) -> bool:
        """Find what becomes of everything the host held. Returns whether the death counts against the
        replica: not while a suspect was tried alone, which is what a quarantine is for."""
        replica.died_at = None if death.expected else self._clock()
        was_trial = replica is self.quarantine.room
        if was_trial:
            self.quarantine.end()
        self._gauges(replica, Gauges(0, 0, 0.0))
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
