"""Leases: allocation, bounds, release, and what a reader sees."""

import fcntl
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipc.arena import ArenaConsumer, ArenaProducer, Lease, LeaseError

PAGE = 4096
MIB = 1024 * 1024


@pytest.fixture
def producer():
    arena = ArenaProducer("test", 16 * PAGE)
    yield arena
    arena.close()


def test_a_consumer_reads_what_the_producer_wrote(producer):
    lease = producer.lease(11)
    producer.write(lease, b"hello ")
    producer.write(lease, b"world", at=6)
    assert bytes(ArenaConsumer(producer.fd).view(lease)) == b"hello world"


def test_a_full_arena_gives_none_until_a_release(producer):
    first = producer.lease(10 * PAGE)
    assert producer.lease(7 * PAGE) is None
    producer.release(first.slot, first.generation)
    assert producer.lease(16 * PAGE) is not None


def test_more_than_the_arena_holds_is_an_error(producer):
    with pytest.raises(LeaseError, match="exceed"):
        producer.lease(17 * PAGE)


def test_a_stale_release_is_refused_and_frees_nothing(producer):
    first = producer.lease(PAGE)
    producer.release(first.slot, first.generation)
    second = producer.lease(PAGE)
    assert second.slot == first.slot
    with pytest.raises(LeaseError, match="not leased"):
        producer.release(first.slot, first.generation)
    assert producer.leased_bytes == PAGE


def test_writing_past_a_lease_is_refused(producer):
    lease = producer.lease(10)
    with pytest.raises(LeaseError, match="exceed a lease"):
        producer.write(lease, b"x" * 11)
    with pytest.raises(LeaseError):
        producer.write(lease, b"x", at=-1)


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, 17 * PAGE), (16 * PAGE, 1), (0, -1)])
def test_a_lease_outside_the_arena_is_refused_by_the_consumer(producer, offset, size):
    with pytest.raises(LeaseError, match="outside"):
        ArenaConsumer(producer.fd).view(Lease(0, 1, offset, size))


def test_nobody_can_resize_the_memory_or_lift_the_seal(producer):
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(producer.fd, PAGE)
    with pytest.raises(OSError, match="not permitted"):
        fcntl.fcntl(producer.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8 * PAGE)), max_size=60))
def test_leases_never_overlap_and_all_room_comes_back(history):
    arena = ArenaProducer("test", 16 * PAGE)
    live: list[Lease] = []
    try:
        for take, size in history:
            if take:
                lease = arena.lease(size)
                if lease is not None:
                    live.append(lease)
            elif live:
                done = live.pop(size % len(live))
                arena.release(done.slot, done.generation)
            spans = sorted((lease.offset, lease.offset + lease.size) for lease in live)
            assert all(end <= start for (_, end), (start, _) in pairwise(spans))
        for lease in live:
            arena.release(lease.slot, lease.generation)
        assert arena.leased_bytes == 0
        assert arena.lease(16 * PAGE) is not None
    finally:
        arena.close()


def mapped_bytes(label: str) -> int:
    """Resident bytes of this process's mappings of a memory file."""
    smaps = Path("/proc/self/smaps").read_text().split(f"/memfd:{label}")[1:]
    return sum(int(part.partition("Rss:")[2].split()[0]) * 1024 for part in smaps)


def test_an_arena_that_was_full_gives_its_memory_back_to_the_producer_when_idle():
    arena = ArenaProducer("rush", 64 * MIB)
    lease = arena.lease(48 * MIB)
    assert lease is not None
    arena.write(lease, bytes(48 * MIB))
    assert mapped_bytes("rush") >= 48 * MIB
    arena.release(lease.slot, lease.generation)
    assert mapped_bytes("rush") <= 16 * MIB
    arena.close()
