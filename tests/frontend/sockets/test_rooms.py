"""Who follows which session, and what a client leaves to follow another."""

import pytest

from frontend.errors import QueueFull
from frontend.sockets.rooms import MAX_ROOMS, Room, Rooms

ROOMS: list[Room] = [("key", f"s{number}") for number in range(MAX_ROOMS + 1)]


def test_a_prompt_beyond_the_bound_leaves_the_first_room_that_an_earlier_prompt_has_no_use_for():
    rooms = Rooms()
    rooms.join("a", ROOMS[0])
    for room in ROOMS[1:-1]:
        rooms.enter("a", room, busy=())
    rooms.enter("a", ROOMS[2], busy=())  # used again
    rooms.enter("a", ROOMS[-1], busy=[ROOMS[1]])
    assert [room for room in ROOMS if "a" not in rooms.members(room)] == [ROOMS[3]]


def test_where_all_rooms_are_in_use_there_is_no_other():
    rooms = Rooms()
    for room in ROOMS[:-1]:
        rooms.join("a", room)
    rooms.enter("a", ROOMS[0], busy=())  # stays one that was joined
    for add in (lambda: rooms.enter("a", ROOMS[-1], busy=()), lambda: rooms.join("a", ROOMS[-1])):
        with pytest.raises(QueueFull) as refused:
            add()
        assert refused.value.param == "session_id"
    rooms.leave_all("a")
    rooms.join("a", ROOMS[-1])
    assert rooms.members(ROOMS[0]) == frozenset()
