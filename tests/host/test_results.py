"""Results on their way out: inline, in the arena, or waiting for room there."""

import numpy as np
import pytest

from host.engines.base import EngineLost
from host.results import PLACE_SECONDS, ResultQueue, Results
from ipc.arena import ArenaConsumer, ArenaProducer, Lease
from ipc.messages import INLINE_LIMIT_BYTES, Embedded, Release

ARENA_BYTES = 1024 * 1024
FLOATS = ARENA_BYTES // 4


class Outlet:
    """A queue over a small arena, with a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.arena = ArenaProducer("results", ARENA_BYTES)
        self.results = Results(self.arena)
        self.queue = ResultQueue(self.results, lambda: self.now)

    def add(self, request_id: int, floats: int) -> None:
        tensor = np.full((1, floats), request_id, np.float32)
        self.queue.add(request_id, tensor, lambda payload: Embedded(request_id, payload, (1, floats), 1))

    def placed(self) -> list[int]:
        return [reply.request_id for reply in self.queue.replies()]

    def release_all(self) -> None:
        for slot, live in list(self.arena._live.items()):
            self.results.release(Release(slot, live.generation))


def test_small_results_travel_inline_and_large_ones_in_the_arena() -> None:
    outlet = Outlet()
    outlet.add(1, INLINE_LIMIT_BYTES // 4)
    outlet.add(2, INLINE_LIMIT_BYTES // 4 + 1)
    small, large = outlet.queue.replies()
    assert isinstance(small, Embedded)
    assert isinstance(large, Embedded)
    assert isinstance(small.payload, bytes)
    assert np.frombuffer(small.payload, np.float32).max() == 1
    assert isinstance(large.payload, Lease)
    assert (large.payload.dtype, large.payload.shape) == ("f4", large.shape)
    copied = np.frombuffer(ArenaConsumer(outlet.arena.fd).copy(large.payload), np.float32)
    assert copied.min() == copied.max() == 2


def test_results_wait_in_their_order_for_room_and_small_ones_pass() -> None:
    outlet = Outlet()
    for request_id, floats in ((1, FLOATS // 2), (2, FLOATS), (3, FLOATS // 2), (4, 10)):
        outlet.add(request_id, floats)
    assert outlet.placed() == [1, 4]
    assert outlet.placed() == []
    outlet.release_all()
    assert outlet.placed() == [2]
    outlet.release_all()
    assert outlet.placed() == [3]
    assert not outlet.queue


def test_a_dropped_result_makes_room_for_the_next() -> None:
    outlet = Outlet()
    outlet.add(1, FLOATS // 2)
    assert outlet.placed() == [1]
    outlet.add(2, FLOATS)
    outlet.add(3, FLOATS // 2)
    assert outlet.placed() == []
    outlet.queue.drop(2)
    assert outlet.placed() == [3]


def test_a_frontend_that_frees_nothing_costs_the_engine() -> None:
    outlet = Outlet()
    for request_id in (1, 2, 3):
        outlet.add(request_id, FLOATS)
    assert outlet.placed() == [1]
    outlet.now += PLACE_SECONDS
    assert outlet.placed() == []
    outlet.release_all()
    assert outlet.placed() == [2], "the wait begins anew with each result"
    outlet.now += PLACE_SECONDS
    assert outlet.placed() == []
    outlet.now += 1
    with pytest.raises(EngineLost, match="the result arena had no room for 120 seconds"):
        outlet.placed()
