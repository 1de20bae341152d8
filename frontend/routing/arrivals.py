"""What becomes of the tokens that a host sends: checked, journalled, measured, passed on."""

from frontend.observability.metrics import ModelMetrics
from frontend.routing.generation import Output, Sequence
from frontend.routing.journal import Journal
from ipc.channel import ChannelError
from ipc.messages import Delta


class Arrivals:
    """One model's. Times are seconds of the monotonic clock."""

    def __init__(self, metrics: ModelMetrics) -> None:
        self._metrics = metrics

    def take(self, sequence: Sequence, delta: Delta, now: float) -> None:
        """The hot path: once per engine step and running sequence."""
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


def check_delta(delta: Delta, vocab_size: int) -> None:
    """Raises ChannelError for what no engine can have produced."""
    for token in delta.token_ids:
        if not 0 <= token < vocab_size:
            raise ChannelError(f"token id {token} is outside the vocabulary of {vocab_size}")
    if delta.logprobs and not len(delta.logprobs) == len(delta.token_bytes) == len(delta.token_ids):
        raise ChannelError("log probabilities must be as many as tokens")
