"""Whose inputs are computed next."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from host.vectors.planning import Limits
from host.vectors.waiting import Input, WaitingInputs
from tests.host.vectors.inputs import LengthsRequest

LIMITS = Limits(tokens=256, window=512, overhead=16)


def waiting(*requests: list[int]) -> tuple[WaitingInputs, list[LengthsRequest]]:
    inputs = WaitingInputs(LIMITS)
    made = [LengthsRequest(number, lengths) for number, lengths in enumerate(requests)]
    for request in made:
        inputs.add(request, request.token_rows())
    return inputs, made


def batches(inputs: WaitingInputs) -> list[list[Input]]:
    taken = []
    while inputs:
        taken.append(inputs.next_batch()[1])
    return taken


def ids(batch: list[Input]) -> Counter[int]:
    return Counter(item.request.request_id for item in batch)


@given(st.lists(st.lists(st.integers(1, 300), min_size=1, max_size=20), min_size=1, max_size=6))
def test_every_input_is_computed_once(requests: list[list[int]]) -> None:
    inputs, _ = waiting(*requests)
    taken = [(item.request.request_id, item.index) for batch in batches(inputs) for item in batch]
    assert sorted(taken) == [
        (number, index) for number, lengths in enumerate(requests) for index in range(len(lengths))
    ]


def test_inputs_of_similar_length_share_a_batch_whatever_their_requests() -> None:
    inputs, _ = waiting(*[[20]] * 8)
    assert [ids(batch) for batch in batches(inputs)] == [Counter(range(8))]


def test_a_late_short_request_does_not_wait_for_the_rest_of_a_large_one() -> None:
    inputs, _ = waiting([100] * 2048)
    inputs.next_batch()
    late = LengthsRequest(1, [8])
    inputs.add(late, late.token_rows())
    following = [ids(inputs.next_batch()[1]) for _ in range(2)]
    assert any(1 in batch for batch in following)


def test_requests_take_turns_though_their_inputs_do_not_match() -> None:
    inputs, _ = waiting([200] * 9, [50] * 90, [8] * 900)
    owners = [next(iter(ids(inputs.next_batch()[1]))) for _ in range(6)]
    assert owners == [0, 1, 2, 0, 1, 2]


def test_a_turn_begins_with_the_longest_input() -> None:
    inputs, _ = waiting([8, 200, 50])
    assert [item.length for item in inputs.next_batch()[1]] == [200]


def test_of_equally_long_inputs_the_oldest_fill_a_batch() -> None:
    inputs, _ = waiting([64], [64], [64, 64, 64, 64])
    assert ids(inputs.next_batch()[1]) == Counter({0: 1, 1: 1, 2: 2})


def test_a_dropped_request_is_computed_no_more() -> None:
    inputs, requests = waiting([20, 100], [20], [100])
    inputs.drop(requests[0])
    inputs.drop(requests[0])
    assert [ids(batch) for batch in batches(inputs)] == [Counter({1: 1}), Counter({2: 1})]
