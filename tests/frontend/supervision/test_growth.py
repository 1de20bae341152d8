"""When a host that grows is replaced, and when it must leave."""

import msgspec
import pytest

from frontend.supervision.growth import URGENT, Growth, Leaving, Sample, judge, must_leave

LIMIT = 1000
GROWN = Sample(
    size=1001,
    loaded_size=600,
    ready_seconds=60.0,
    load_seconds=5.0,
    has_worked=True,
    has_siblings=False,
    is_turn=True,
)
REPLICA = msgspec.structs.replace(GROWN, has_siblings=True)


def growth(sample: Sample, limit: int = LIMIT, **changes: object) -> Growth:
    return judge(msgspec.structs.replace(sample, **changes), limit)


def test_a_host_beyond_its_limit_is_replaced_and_one_within_it_is_not():
    assert growth(GROWN) is Growth.REPLACE
    assert growth(GROWN, size=1000) is Growth.FINE
    assert growth(GROWN, limit=0) is Growth.FINE


@pytest.mark.parametrize(
    "changes",
    [
        {"loaded_size": 1000},
        {"loaded_size": 2000, "size": 3000},
        {"has_worked": False},
        {"ready_seconds": 4.9},
    ],
    ids=[
        "nearly as large when loaded",
        "larger when loaded",
        "before its first answer",
        "sooner than a load takes",
    ],
)
@pytest.mark.parametrize("host", [GROWN, REPLICA], ids=["alone", "replica"])
def test_a_host_whose_successor_would_be_as_large_is_not_replaced_for_ever(host, changes):
    assert growth(host, **changes) is Growth.FUTILE


def test_the_first_of_several_replicas_leaves_before_all_are_at_the_limit():
    assert growth(REPLICA, size=900) is Growth.FINE
    assert growth(REPLICA, size=901) is Growth.REPLACE
    assert growth(GROWN, size=901) is Growth.FINE


def test_replicas_leave_in_turn_but_none_waits_until_it_is_far_beyond_the_limit():
    for size in (901, 1001, int(LIMIT * URGENT)):
        assert growth(REPLICA, size=size, is_turn=False) is Growth.FINE
    assert growth(REPLICA, size=int(LIMIT * URGENT) + 1, is_turn=False) is Growth.REPLACE
    assert URGENT < 1.1


def test_a_host_that_grows_fast_is_replaced_as_soon_as_it_has_worked():
    assert growth(GROWN, size=1051, ready_seconds=0.5) is Growth.REPLACE
    assert growth(GROWN, size=1051, ready_seconds=0.5, has_worked=False) is Growth.FUTILE


def leaves(**changes: object) -> bool:
    leaving = Leaving(size=1001, loaded_size=600, seconds=1.0, can_move=True, held=3, ended=3)
    return must_leave(msgspec.structs.replace(leaving, **changes), LIMIT, patience_seconds=30.0)


def test_requests_that_can_be_continued_elsewhere_are_moved_after_a_while_or_if_memory_grows_on():
    assert not leaves()
    assert leaves(seconds=30.0)
    assert leaves(size=1051)
    assert not leaves(size=1051, loaded_size=1000)  # another host would be as large


def test_requests_that_made_a_host_large_are_not_moved_to_one_that_they_would_make_as_large():
    for size in (901, 1001, 2000):
        assert not leaves(size=size, seconds=500.0, ended=2)
        assert leaves(size=size, seconds=500.0, ended=3)
    assert leaves(seconds=30.0, size=2000, loaded_size=1000, ended=0)  # the next one is not replaced
    assert leaves(seconds=30.0, size=900, ended=0)  # it is replaced for another reason
    assert leaves(seconds=30.0, size=900, ended=0, held=48)


def test_many_clients_whose_requests_fill_a_host_at_once_have_their_answers_after_a_few_replacements():
    """48 requests wait at any time, each of which makes the host larger; one ends in each tick."""
    answered = hosts = 0
    while answered < 480:
        hosts += 1
        held, ended, size, is_leaving = 48, 0, 600 + 48 * 10, False
        while held:
            held, ended, answered = held - 1, ended + 1, answered + 1
            if not is_leaving:
                sample = msgspec.structs.replace(GROWN, size=size, ready_seconds=float(ended))
                is_leaving = judge(sample, LIMIT) is Growth.REPLACE
            if is_leaving and leaves(size=size, held=held, ended=ended):
                break
            if not is_leaving:
                held, size = held + 1, size + 10
    assert hosts <= 20


def test_requests_that_cannot_be_continued_keep_their_host():
    assert not leaves(can_move=False, seconds=500.0)
    assert not leaves(can_move=False, size=2000)
