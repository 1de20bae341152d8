"""One model's traffic: a bounded first-in-first-out queue in front of its replicas."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from frontend.errors import EngineCrashed, ModelUnavailable, Overloaded, QueueFull, ServerError, from_host
from frontend.observability.metrics import Metrics
from frontend.routing.choice import choose, estimated_tokens, retry_after_seconds
from frontend.routing.generation import Generation, Output, Sequence
from frontend.routing.journal import Phase
from frontend.routing.prefixes import prefix_blocks
from frontend.routing.replica import Replica
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import HALF_OPEN_SECONDS, State
from frontend.supervision.supervisor import Supervisor
from ipc.channel import ChannelError
from ipc.messages import (
    INLINE_LIMIT_BYTES,
    Accepted,
    Cancel,
    Completed,
    Failed,
    Fatal,
    Gauges,
    Generate,
    Prompt,
    Ready,
    Release,
    SharedPrompt,
    Step,
    ToFrontend,
)

ARENA_WAIT_SECONDS = 30.0
_MEAN_WEIGHT = 0.1  # of the newest request in the running mean of request times

_request_ids = itertools.count(1)


class ModelRoute:
    """Everything between the API and the replicas of one model."""

    def __init__(self, name: str, max_queue: int, metrics: Metrics) -> None:
        self.name = name
        self.replicas: list[Replica] = []
        self._max_queue = max_queue
        self._metrics = metrics
        self._queue: deque[Sequence] = deque()
        self._mean_seconds = 1.0
        self._first_token = metrics.time_to_first_token.labels(name)
        self._inter_token = metrics.inter_token.labels(name)
        self._generated = metrics.generated_tokens.labels(name)
        self._queued = metrics.queued.labels(name)
        self.handlers: dict[type[ToFrontend], Callable[[Replica, Any], None]] = {
            Ready: lambda _replica, _message: self.pump(),
            Accepted: self._accepted,
            Step: self._step,
            Completed: self._completed,
            Failed: self._failed,
            Release: lambda _replica, _message: self.pump(),
            Gauges: self._gauges,
            Fatal: lambda _replica, _message: None,  # the death that follows tells it
        }

    def add(self, supervisor: Supervisor) -> None:
        self.replicas.append(Replica(supervisor))

    def replica_of(self, supervisor: Supervisor) -> Replica:
        return self.replicas[supervisor.options.replica]

    # --- in: from the API ---

    def submit(self, generation: Generation) -> None:
        """Queue all sequences or none. Raises QueueFull or ModelUnavailable."""
        self._check_available()
        free = sum(replica.free_slots for replica in self.replicas)
        if len(self._queue) + len(generation.sequences) > self._max_queue + free:
            slots = sum(r.supervisor.card.max_num_seqs for r in self.replicas if r.supervisor.card)
            wait = retry_after_seconds(len(self._queue), slots, self._mean_seconds)
            raise QueueFull(f"{self.name} has {len(self._queue)} requests waiting", retry_after=wait)
        self._queue.extend(generation.sequences)
        self.pump()

    def abandon(self, generation: Generation) -> None:
        """Forget a generation's sequences, wherever they are."""
        for sequence in generation.sequences:
            if sequence.journal.phase is Phase.QUEUED:
                self._queue.remove(sequence)
            sequence.journal.phase = Phase.ENDED
        for replica in self.replicas:
            for request_id in [i for i, s in replica.sequences.items() if s.generation is generation]:
                replica.unassign(request_id)
                self._send(replica, Cancel(request_id))
        self.pump()

    # --- out: to the replicas ---

    def pump(self) -> None:
        """Send what waits, in order, while a replica has room."""
        while self._queue and self._dispatch(self._queue[0]):
            self._queue.popleft()
        self._queued.set(len(self._queue))

    def _dispatch(self, sequence: Sequence) -> bool:
        journal = sequence.journal
        # With one replica there is nothing to choose and no prefix to know.
        blocks = prefix_blocks(journal.prompt) if len(self.replicas) > 1 else []
        index = choose([replica.load(blocks) for replica in self.replicas])
        if index is None:
            return False
        replica = self.replicas[index]
        prompt = self._place_prompt(replica, sequence)
        if prompt is None:
            return False
        request_id = next(_request_ids)
        replica.assign(
            request_id, sequence, estimated_tokens(sequence.prompt_bytes, journal.sampling.max_tokens)
        )
        replica.prefixes.remember(blocks)
        journal.phase = Phase.SENT
        self._send(replica, Generate(request_id, prompt, journal.sampling))
        return True

    def _place_prompt(self, replica: Replica, sequence: Sequence) -> Prompt | None:
        """The prompt as it crosses; a large one needs room in the arena, for which the queue waits."""
        if sequence.prompt_bytes <= INLINE_LIMIT_BYTES:
            return sequence.journal.prompt
        assert replica.supervisor.incarnation is not None
        lease = replica.supervisor.incarnation.lease(msgspec.msgpack.encode(sequence.journal.prompt))
        if lease is not None:
            return SharedPrompt(lease)
        if not sequence.waits_for_room:
            sequence.waits_for_room = True
            asyncio.get_running_loop().call_later(ARENA_WAIT_SECONDS, self._give_up_waiting, sequence)
        return None

    def _give_up_waiting(self, sequence: Sequence) -> None:
        if sequence.journal.phase is Phase.QUEUED:
            sequence.generation.cancel(Overloaded("no room in shared memory for this prompt"))

    def _send(self, replica: Replica, message: Generate | Cancel) -> None:
        incarnation = replica.supervisor.incarnation
        if incarnation is None:
            return
        try:
            incarnation.send(message)
        except ChannelError as error:
            incarnation.condemn(str(error))

    # --- in: from the hosts ---

    def said(self, replica: Replica, message: ToFrontend) -> None:
        """Raises ChannelError where the message cannot be true."""
        self.handlers[type(message)](replica, message)

    def _accepted(self, replica: Replica, message: Accepted) -> None:
        sequence = replica.sequences.get(message.request_id)
        if sequence is None or sequence.journal.phase is not Phase.SENT:
            return
        sequence.journal.prompt_tokens = message.prompt_tokens
        sequence.journal.phase = Phase.GENERATING
        self._metrics.prompt_tokens.labels(self.name).inc(message.prompt_tokens)
        sequence.generation.sequence_accepted()

    def _step(self, replica: Replica, message: Step) -> None:
        assert replica.supervisor.card is not None
        vocab_size = replica.supervisor.card.vocab_size
        now = time.monotonic()
        for delta in message.deltas:
            if any(not 0 <= token < vocab_size for token in delta.token_ids):
                raise ChannelError(f"token ids outside the vocabulary of {vocab_size}")
            sequence = replica.sequences.get(delta.request_id)
            if sequence is None:
                continue  # cancelled while this was on its way
            journal = sequence.journal
            journal.token_ids += delta.token_ids
            if journal.last_token_at is None:
                self._first_token.observe(now - journal.arrived_at)
            else:
                self._inter_token.observe(now - journal.last_token_at)
            journal.last_token_at = now
            if delta.text:
                sequence.generation.push(Output(sequence.choice, delta.text))
        self._generated.inc(sum(len(delta.token_ids) for delta in message.deltas))

    def _completed(self, replica: Replica, message: Completed) -> None:
        sequence = self._end(replica, message.request_id)
        if sequence is not None:
            sequence.generation.push(Output(sequence.choice, "", message.finish_reason))
        self.pump()

    def _failed(self, replica: Replica, message: Failed) -> None:
        sequence = self._end(replica, message.request_id)
        if sequence is not None:
            sequence.generation.cancel(from_host(message.error))
        self.pump()

    def _end(self, replica: Replica, request_id: int) -> Sequence | None:
        sequence = replica.unassign(request_id)
        if sequence is not None:
            sequence.journal.phase = Phase.ENDED
            seconds = time.monotonic() - sequence.journal.arrived_at
            self._metrics.request_seconds.labels(self.name).observe(seconds)
            self._mean_seconds += _MEAN_WEIGHT * (seconds - self._mean_seconds)
        return sequence

    def _gauges(self, replica: Replica, message: Gauges) -> None:
        labels = (self.name, str(replica.supervisor.options.replica))
        self._metrics.running.labels(*labels).set(message.running)
        self._metrics.waiting.labels(*labels).set(message.waiting)
        self._metrics.kv_usage.labels(*labels).set(message.kv_usage)

    def died(self, replica: Replica, death: Death) -> None:
        """Every sequence the host held ends with a typed error; what was not sent stays queued."""
        self._gauges(replica, Gauges(0, 0, 0.0))
        for sequence in replica.empty():
            sequence.journal.phase = Phase.ENDED
            sequence.generation.cancel(EngineCrashed(death.message))

    # --- availability ---

    def changed(self) -> None:
        """A replica's state changed: send what now can be sent, refuse what never will."""
        try:
            self._check_available()
        except ServerError as error:
            for sequence in list(self._queue):
                sequence.generation.cancel(error)
        self.pump()

    def _check_available(self) -> None:
        hopeless = (State.FAILED, State.STOPPED, State.DRAINING)
        lives = [replica.supervisor.life for replica in self.replicas]
        if all(life.state in hopeless for life in lives):
            reason = next((life.reason for life in lives if life.reason), "it is being stopped")
            raise ModelUnavailable(
                f"{self.name} is not available: {reason}", retry_after=round(HALF_OPEN_SECONDS)
            )

    def fail_all(self, error: ServerError) -> None:
        """End everything, queued or running, with `error`."""
        held: Iterable[Sequence] = [s for r in self.replicas for s in r.sequences.values()]
        for sequence in [*self._queue, *held]:
            sequence.generation.cancel(error)
