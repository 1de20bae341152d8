"""What the router knows of one replica: what it holds, and how loaded it is."""

from frontend.routing.choice import Load
from frontend.routing.generation import Sequence
from frontend.routing.prefixes import PrefixMemory
from frontend.supervision.supervisor import Supervisor


class Replica:
    """The router's account of a supervised host. Emptied when the host dies."""

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        self.sequences: dict[int, Sequence] = {}  # by the request id that the host knows
        self.prefixes = PrefixMemory()
        self._costs: dict[int, int] = {}
        self._outstanding = 0

    @property
    def free_slots(self) -> int:
        card = self.supervisor.card
        if card is None or not self.supervisor.ready:
            return 0
        return card.max_num_seqs - len(self.sequences)

    def load(self, blocks: list[int]) -> Load:
        return Load(self._outstanding, self.free_slots, self.prefixes.matching(blocks))

    def assign(self, request_id: int, sequence: Sequence, cost: int) -> None:
        """`cost` is the sequence's share of the load, in tokens."""
        self.sequences[request_id] = sequence
        self._costs[request_id] = cost
        self._outstanding += cost

    def unassign(self, request_id: int) -> Sequence | None:
        """Forget a sequence; None if it is not here any more."""
        self._outstanding -= self._costs.pop(request_id, 0)
        return self.sequences.pop(request_id, None)

    def empty(self) -> list[Sequence]:
        """The host is gone: what it held."""
        held = list(self.sequences.values())
        self.sequences.clear()
        self._costs.clear()
        self._outstanding = 0
        self.prefixes.forget()
        return held
