"""What a model's hosts say: checked, journalled, measured, passed on to whom it is for."""

from collections.abc import Callable
from typing import Any

from frontend.errors import from_host
from frontend.observability.metrics import ModelMetrics
from frontend.routing.backlog import Backlog
from frontend.routing.generation import Generation, Output, Sequence
from frontend.routing.journal import Journal, Phase
from frontend.routing.quarantine import Quarantine
from frontend.routing.queries import Answer, Queries
from frontend.routing.replica import Replica
from ipc.channel import ChannelError
from ipc.messages import (
    Accepted,
    Completed,
    Delta,
    Detokenized,
    Failed,
    Fatal,
    Gauges,
    Ready,
    Release,
    Step,
    ToFrontend,
    Tokenized,
)

_MEAN_WEIGHT = 0.1  # of the newest request in the running mean of request times


class Arrivals:
    """One model's. Times are seconds of `clock`."""

    def __init__(
        self,
        backlog: Backlog,
        quarantine: Quarantine,
        queries: Queries,
        metrics: ModelMetrics,
        clock: Callable[[], float],
        pump: Callable[[], None],
    ) -> None:
        """`pump` sends what there is room for now."""
        self._backlog = backlog
        self._quarantine = quarantine
        self._queries = queries
        self._metrics = metrics
        self._clock = clock
        self._pump = pump
        self.mean_seconds = 1.0  # of a sequence, from its arrival to its end
        self.handlers: dict[type[ToFrontend], Callable[[Replica, Any], None]] = {
            Ready: self._ready,
            Accepted: self._accepted,
            Tokenized: self._answered,
            Detokenized: self._answered,
            Step: self._step,
            Completed: self._completed,
            Failed: self._failed,
            Release: lambda _replica, _message: self._pump(),
            Gauges: self._gauges,
            Fatal: lambda _replica, _message: None,  # the death that follows tells it
        }

    def take(self, replica: Replica, message: ToFrontend) -> None:
        """Raises ChannelError where the message cannot be true."""
        self.handlers[type(message)](replica, message)

    def _ready(self, replica: Replica, message: Ready) -> None:
        if replica.died_at is not None:
            self._metrics.host_recovery_seconds.observe(self._clock() - replica.died_at)
            replica.died_at = None
        self._queries.ready(message.card)
        self._pump()

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
        """The hot path: once per engine step, and in it once per running sequence."""
        assert replica.host.card is not None
        vocab_size = replica.host.card.vocab_size
        now = self._clock()
        produced = 0
        grown: set[Generation] = set()
        for delta in message.deltas:
            _check(delta, vocab_size)
            sequence = replica.sequences.get(delta.request_id)
            if sequence is None:
                continue  # cancelled while this was on its way
            produced += len(delta.token_ids)
            self._tokens(sequence, delta, now)
            grown.add(sequence.generation)
            if sequence is self._quarantine.tried:
                self._end_trial_if_passed(replica, delta.request_id, sequence)
        self._metrics.generated_tokens.inc(produced)
        for generation in grown:
            generation.flush()

    def _tokens(self, sequence: Sequence, delta: Delta, now: float) -> None:
        journal = sequence.journal
        journal.token_ids += delta.token_ids
        if journal.last_token_at is not None and journal.died_at is None:
            self._metrics.inter_token.observe(now - journal.last_token_at)
        else:
            self._first_since(journal, now)
        journal.last_token_at = now
        if delta.text or delta.token_ids:
            sequence.generation.push(
                Output(
                    sequence.choice,
                    delta.text,
                    token_ids=delta.token_ids,
                    logprobs=delta.logprobs,
                    token_bytes=delta.token_bytes,
                )
            )

    def _first_since(self, journal: Journal, now: float) -> None:
        """The first token at all, or since a death."""
        if journal.died_at is not None:
            self._metrics.recovery_seconds.observe(now - journal.died_at)
            journal.died_at = None
        else:
            self._metrics.time_to_first_token.observe(now - journal.arrived_at)

    def _end_trial_if_passed(self, replica: Replica, request_id: int, sequence: Sequence) -> None:
        """An innocent goes back among the others; if nobody else is to be tried, it stays where it is."""
        if not self._quarantine.passes(sequence):
            return
        self._quarantine.end()
        if self._quarantine.waiting:
            replica.withdraw(request_id)
            self._backlog.add(sequence)
        self._pump()

    def _completed(self, replica: Replica, message: Completed) -> None:
        sequence = self._end(replica, message.request_id)
        if sequence is not None:
            if not sequence.journal.deaths:  # else the cache of another host
                sequence.journal.cached_tokens = message.cached_tokens
            sequence.generation.push(Output(sequence.choice, "", message.finish_reason, stop=message.stop))
            sequence.generation.flush()
        self._pump()

    def _answered(self, _replica: Replica, message: Answer) -> None:
        self._queries.answered(message)

    def _failed(self, replica: Replica, message: Failed) -> None:
        if self._queries.answered(message):
            return
        sequence = self._end(replica, message.request_id)
        if sequence is not None:
            sequence.generation.cancel(from_host(message.error))
        self._pump()

    def _end(self, replica: Replica, request_id: int) -> Sequence | None:
        sequence = replica.unassign(request_id)
        if sequence is not None:
            if sequence is self._quarantine.tried:
                self._quarantine.end()
            sequence.journal.phase = Phase.ENDED
            seconds = self._clock() - sequence.journal.arrived_at
            self._metrics.request_seconds.observe(seconds)
            self.mean_seconds += _MEAN_WEIGHT * (seconds - self.mean_seconds)
        return sequence

    def _gauges(self, replica: Replica, message: Gauges) -> None:
        gauges = self._metrics.of_replica(replica.host.number)
        gauges.running.set(message.running)
        gauges.waiting.set(message.waiting)
        gauges.kv_usage.set(message.kv_usage)


def _check(delta: Delta, vocab_size: int) -> None:
    """Raises ChannelError for what no engine can have produced."""
    for token in delta.token_ids:
        if not 0 <= token < vocab_size:
            raise ChannelError(f"token id {token} is outside the vocabulary of {vocab_size}")
    if delta.logprobs and not len(delta.logprobs) == len(delta.token_bytes) == len(delta.token_ids):
        raise ChannelError("log probabilities must be as many as tokens")
