"""Where suspects are tried: alone, one at a time, on a replica that nobody else uses meanwhile."""

from bisect import insort
from collections.abc import Sequence as Rows

from frontend.routing.generation import Sequence
from frontend.routing.journal import Phase
from frontend.routing.recovery import Suspicion
from frontend.routing.replica import Replica
from frontend.supervision.lifecycle import State

_COMING = (State.STARTING, State.LOADING, State.BACKOFF)


class Quarantine:
    """The suspects of one model."""

    def __init__(self) -> None:
        self.waiting: list[Sequence] = []  # in the order in which they are to be tried
        self.tried: Sequence | None = None
        self.room: Replica | None = None

    def admit(self, sequence: Sequence) -> None:
        sequence.journal.phase = Phase.QUEUED
        insort(self.waiting, sequence, key=_order)

    def begin(self, room: Replica) -> Sequence:
        """Take the next suspect into `room`."""
        self.tried, self.room = self.waiting.pop(0), room
        return self.tried

    def end(self) -> None:
        """The trial is over, whatever came of it."""
        self.tried = self.room = None

    def remove(self, sequence: Sequence) -> None:
        if sequence in self.waiting:
            self.waiting.remove(sequence)

    def passes(self, sequence: Sequence) -> bool:
        """Whether the suspect being tried is beyond the point of its host's death; then it is cleared."""
        if sequence is not self.tried or not sequence.suspicion.passed_by(len(sequence.journal.token_ids)):
            return False
        sequence.suspicion = Suspicion()
        return True

    def open_room(self, replicas: Rows[Replica]) -> Replica | None:
        """A replica for the next trial: one that is ready and empty."""
        if self.tried is not None or not self.waiting:
            return None
        return next((replica for replica in replicas if replica.host.ready and not replica.sequences), None)

    def keeps_free(self, replicas: Rows[Replica]) -> Replica | None:
        """The replica that gets nothing else: the trial's; or, where suspects wait and no host is coming up
        that will be empty anyway, the one with the least to finish."""
        if self.tried is not None or not self.waiting:
            return self.room
        if any(replica.host.life.state in _COMING for replica in replicas):
            return None
        ready = [replica for replica in replicas if replica.host.ready]
        return min(ready, key=lambda replica: len(replica.sequences), default=None)


def _order(sequence: Sequence) -> tuple[bool, int]:
    """Who has died alone comes first, to be blamed or cleared; then the quickest trial."""
    journal = sequence.journal
    never_alone = not sequence.suspicion.alone_at
    return never_alone, (journal.prompt_tokens or sequence.prompt_bytes) + len(journal.token_ids)
