"""What waits for a model, oldest first, and its way to a replica."""

import itertools
from bisect import insort
from collections.abc import Callable
from collections.abc import Sequence as Rows

from frontend.errors import Overloaded
from frontend.routing.choice import choose, estimated_tokens
from frontend.routing.generation import Sequence
from frontend.routing.journal import Phase
from frontend.routing.prefixes import prefix_blocks
from frontend.routing.replica import Replica
from ipc.messages import Generate

ARENA_WAIT_SECONDS = 30.0

CallLater = Callable[[float, Callable[[], None]], object]


class Backlog:
    """A bounded queue in order of arrival; what returns from a dead host returns to its place."""

    def __init__(self, call_later: CallLater, request_ids: "itertools.count[int]") -> None:
        self.waiting: list[Sequence] = []
        self._call_later = call_later
        self._request_ids = request_ids

    def add(self, sequence: Sequence) -> None:
        sequence.journal.phase = Phase.QUEUED
        insort(self.waiting, sequence, key=lambda s: s.journal.arrived_at)

    def remove(self, sequence: Sequence) -> None:
        if sequence in self.waiting:
            self.waiting.remove(sequence)

    def send_to(self, replicas: Rows[Replica]) -> None:
        """Send in order while one of `replicas` has room."""
        while self.waiting and self._send_first(replicas):
            pass

    def _send_first(self, replicas: Rows[Replica]) -> bool:
        sequence = self.waiting[0]
        # With one replica there is nothing to choose and no prefix to know.
        blocks = prefix_blocks(sequence.spec.prompt) if len(replicas) > 1 else []
        index = choose([replica.load(blocks) for replica in replicas])
        if index is None or not self.send(sequence, replicas[index]):
            return False
        replicas[index].prefixes.remember(blocks)
        self.waiting.remove(sequence)
        return True

    def send(self, sequence: Sequence, replica: Replica) -> bool:
        """Send one sequence, with what it already has; False while its prompt has no room in the arena."""
        prompt = replica.place(sequence.journal.prompt, sequence.prompt_bytes)
        if prompt is None:
            self._wait_for_room(sequence)
            return False
        sequence.waits_for_room = False
        journal = sequence.journal
        cost = estimated_tokens(sequence.prompt_bytes, journal.sampling.max_tokens)
        request_id = next(self._request_ids)
        replica.assign(request_id, sequence, cost)
        journal.phase = Phase.SENT
        replica.host.send(
            Generate(request_id, prompt, journal.sampling, list(journal.token_ids), sequence.spec.report_ids)
        )
        return True

    def _wait_for_room(self, sequence: Sequence) -> None:
        if not sequence.waits_for_room:
            sequence.waits_for_room = True
            self._call_later(ARENA_WAIT_SECONDS, lambda: _give_up_waiting(sequence))


def _give_up_waiting(sequence: Sequence) -> None:
    if sequence.waits_for_room:  # not where it was sent meanwhile, and is queued again after a death
        sequence.generation.cancel(Overloaded("no room in shared memory for this prompt"))
