"""What the router knows of one replica: what it holds, and how loaded it is."""

from typing import Protocol

import msgspec

from frontend.routing.choice import Load
from frontend.routing.generation import Sequence
from frontend.routing.prefixes import PrefixMemory
from frontend.supervision.lifecycle import Lifecycle
from ipc.arena import Lease
from ipc.messages import INLINE_LIMIT_BYTES, Cancel, InlinePrompt, ModelCard, Prompt, SharedPrompt, ToHost


class Host(Protocol):
    """What routing needs of a supervised host."""

    @property
    def number(self) -> int:
        """Which replica of its model it is, from 0."""

    @property
    def life(self) -> Lifecycle: ...

    @property
    def ready(self) -> bool: ...

    @property
    def card(self) -> ModelCard | None:
        """None while no model is loaded."""

    def send(self, message: ToHost) -> None:
        """Never raises: a host that cannot be reached is dead or about to be."""

    def lease(self, data: bytes) -> Lease | None:
        """Put `data` into the request arena; None while it has no room."""


class Replica:
    """The router's account of one host. Emptied when the host dies."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.sequences: dict[int, Sequence] = {}  # by the request id that the host knows
        self.prefixes = PrefixMemory()
        self.died_at: float | None = None  # when its last host died, until the next is ready
        self._costs: dict[int, int] = {}
        self._outstanding = 0

    @property
    def free_slots(self) -> int:
        card = self.host.card
        if card is None or not self.host.ready:
            return 0
        return card.max_num_seqs - len(self.sequences)

    def load(self, blocks: list[int]) -> Load:
        return Load(self._outstanding, self.free_slots, self.prefixes.matching(blocks))

    def place(self, prompt: InlinePrompt, encoded_bytes: int) -> Prompt | None:
        """A prompt as it crosses: a large one in shared memory; None while that has no room."""
        if encoded_bytes <= INLINE_LIMIT_BYTES:
            return prompt
        lease = self.host.lease(msgspec.msgpack.encode(prompt))
        return SharedPrompt(lease) if lease is not None else None

    def assign(self, request_id: int, sequence: Sequence, cost: int) -> None:
        """`cost` is the sequence's share of the load, in tokens."""
        self.sequences[request_id] = sequence
        self._costs[request_id] = cost
        self._outstanding += cost

    def unassign(self, request_id: int) -> Sequence | None:
        """Forget a sequence; None if it is not here any more."""
        self._outstanding -= self._costs.pop(request_id, 0)
        return self.sequences.pop(request_id, None)

    def withdraw(self, request_id: int) -> None:
        """Take a sequence back from the host."""
        self.unassign(request_id)
        self.host.send(Cancel(request_id))

    def request_ids(self, generation: object) -> list[int]:
        """The ids under which the host knows a generation's sequences."""
        return [i for i, sequence in self.sequences.items() if sequence.generation is generation]

    def empty(self) -> list[Sequence]:
        """The host is gone: what it held."""
        held = list(self.sequences.values())
        self.sequences.clear()
        self._costs.clear()
        self._outstanding = 0
        self.prefixes.forget()
        return held
