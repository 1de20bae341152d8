"""Random histories of leases, shares and releases, against a model of what must be free."""

from itertools import pairwise

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ipc.arena import ArenaConsumer, ArenaProducer, Lease, LeaseError
from ipc.extents import FreeExtents

PAGE = 4096
PAGES = 16


class ArenaHistories(RuleBasedStateMachine):
    """Each holder owns one claim on a lease; `claims` counts them as the arena should."""

    holders = Bundle("holders")
    gone = Bundle("gone")

    def __init__(self) -> None:
        super().__init__()
        self.arena = ArenaProducer("histories", PAGES * PAGE)
        self.consumer = ArenaConsumer(self.arena.fd)
        self.claims: dict[Lease, int] = {}

    def teardown(self) -> None:
        for lease, count in self.claims.items():
            for _ in range(count):
                self.arena.release(lease.slot, lease.generation)
        assert self.arena.leased_bytes == 0
        assert self.arena.lease(PAGES * PAGE) is not None, "all room is one extent again"
        self.arena.close()
        self.consumer.close()

    @rule(target=holders, size=st.integers(0, 8 * PAGE))
    def take(self, size):
        room = self.arena.lease(size)
        if room is None:
            assert self.largest_gap() < max(PAGE, -(-size // PAGE) * PAGE), "there was room"
            return None
        assert room not in self.claims
        self.claims[room] = 1
        self.arena.view(room)[:] = self.content(room)
        return room

    @rule(target=holders, lease=holders)
    def share(self, lease):
        if lease is None:
            return None
        self.arena.share(lease)
        self.claims[lease] += 1
        return lease

    @rule(target=gone, lease=consumes(holders))
    def release(self, lease):
        if lease is None:
            return None
        self.arena.release(lease.slot, lease.generation)
        self.claims[lease] -= 1
        if not self.claims[lease]:
            del self.claims[lease]
        return lease

    @rule(lease=gone)
    def release_what_is_gone(self, lease):
        if lease is None or lease in self.claims:  # another holder still has it
            return
        before = self.arena.leased_bytes
        with pytest.raises(LeaseError, match="not leased"):
            self.arena.release(lease.slot, lease.generation)
        with pytest.raises(LeaseError, match="not leased"):
            self.arena.share(lease)
        assert self.arena.leased_bytes == before

    @invariant()
    def live_leases_never_overlap_and_are_counted_once(self):
        spans = self.spans()
        assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        assert all(start % PAGE == 0 and end <= PAGES * PAGE for start, end in spans)
        assert self.arena.leased_bytes == sum(end - start for start, end in spans)

    @invariant()
    def live_leases_keep_their_content(self):
        for lease in self.claims:
            assert self.consumer.view(lease) == self.content(lease)

    def spans(self) -> list[tuple[int, int]]:
        """Whole pages from start to end."""
        return sorted(
            (lease.offset, lease.offset + max(PAGE, -(-lease.size // PAGE) * PAGE)) for lease in self.claims
        )

    def largest_gap(self) -> int:
        edges = [(0, 0), *self.spans(), (PAGES * PAGE, PAGES * PAGE)]
        return max(start - end for (_, end), (start, _) in pairwise(edges))

    def content(self, lease: Lease) -> bytes:
        return bytes([lease.generation % 251 + 1]) * lease.size


TestArenaHistories = ArenaHistories.TestCase


def test_freed_neighbours_become_one_extent_again():
    free = FreeExtents(100)
    offsets = [free.take(25) for _ in range(4)]
    assert offsets == [0, 25, 50, 75]
    assert free.take(1) is None
    for offset in (25, 75, 0, 50):
        free.give_back(offset, 25)
    assert free.extents == [(0, 100)]
