"""Batches are planned by lengths alone."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.vectors.planning import Limits, Plan, Take, coarse_length, fine_length, plan_batch

WINDOW = 512
LIMITS = Limits(tokens=1024, window=WINDOW, overhead=16)

lengths = st.lists(st.integers(1, WINDOW), min_size=1, max_size=60)


def waiting(inputs: list[int]) -> list[Take]:
    return [Take(length, count) for length, count in sorted(Counter(inputs).items())]


def plan(inputs: list[int], anchor: int, limits: Limits = LIMITS) -> Plan:
    return plan_batch(waiting(inputs), anchor, limits)


def taken(planned: Plan) -> list[int]:
    return [take.length for take in planned.takes for _ in range(take.inputs)]


def short_texts(count: int) -> list[int]:
    """Lengths of short texts: log-normal, 20 tokens on average."""
    random = Random(1)
    return [2 + max(2, min(220, round(random.lognormvariate(2.6, 0.8)))) for _ in range(count)]


@given(lengths, st.data())
def test_a_batch_holds_the_anchor_fits_its_shape_and_keeps_to_the_budget(
    inputs: list[int], data: st.DataObject
) -> None:
    anchor = data.draw(st.sampled_from(inputs))
    planned = plan(inputs, anchor)
    assert anchor in taken(planned)
    assert not Counter(taken(planned)) - Counter(inputs), "only what waits"
    assert len(taken(planned)) <= planned.rows
    assert max(taken(planned)) <= planned.length <= WINDOW
    assert planned.rows * planned.length <= max(LIMITS.tokens, planned.length)


@given(lengths, st.data())
def test_shapes_come_from_a_small_set(inputs: list[int], data: st.DataObject) -> None:
    planned = plan(inputs, data.draw(st.sampled_from(inputs)))
    coarse = planned.length == coarse_length(planned.length, WINDOW)
    power_of_two = planned.rows & (planned.rows - 1) == 0
    fine = planned.length == fine_length(planned.length, WINDOW)
    full = planned.rows == max(1, LIMITS.tokens // planned.length)
    assert (coarse and power_of_two) or (fine and full)


def test_the_small_set_is_small() -> None:
    rows = [1 << power for power in range(11)]
    coarse = {coarse_length(length, WINDOW) for length in range(1, WINDOW + 1)}
    partial = {(n, length) for n in rows for length in coarse if n * length <= LIMITS.tokens}
    full = {fine_length(length, WINDOW) for length in range(1, WINDOW + 1)}
    assert (len(partial), len(full)) == (116, 96)


@pytest.mark.parametrize("length", [1, 7, 8, 9, 31, 32, 33, 63, 100, 255, 500, 512])
def test_lengths_are_rounded_up_by_little(length: int) -> None:
    assert length <= fine_length(length, WINDOW) <= length * 17 // 16 + 1
    assert length <= coarse_length(length, WINDOW) <= max(8, length * 5 // 4)


def test_no_length_is_rounded_beyond_the_window() -> None:
    assert coarse_length(500, 500) == fine_length(500, 500) == 500
    assert coarse_length(3, 5) == 5


def test_a_lone_input_has_a_pass_of_its_own() -> None:
    assert plan([7], 7)[:2] == (1, 8)


def test_an_input_longer_than_the_budget_has_a_pass_of_its_own() -> None:
    limits = Limits(tokens=64, window=WINDOW, overhead=16)
    planned = plan([300, 300, 8], 300, limits)
    assert (planned.rows, taken(planned)) == (1, [300])


def test_inputs_of_one_length_fill_a_batch_to_the_budget() -> None:
    assert plan([20] * 200, 20)[:2] == (51, 20)


def test_long_inputs_do_not_join_short_ones() -> None:
    assert max(taken(plan([9] * 4 + [200] * 4, 9))) == 9


def test_a_few_similar_inputs_share_a_pass_rather_than_to_have_one_each() -> None:
    assert sorted(taken(plan([8, 9, 10, 11], 8))) == [8, 9, 10, 11]


def test_where_a_pass_costs_much_beside_its_tokens_more_padding_is_accepted() -> None:
    inputs = [8] * 3 + [14] * 2
    costly = LIMITS._replace(overhead=256)
    cheap = LIMITS._replace(overhead=1)
    assert len(taken(plan(inputs, 8, costly))) > len(taken(plan(inputs, 8, cheap)))


def test_many_inputs_are_computed_with_little_padding() -> None:
    left = Counter(short_texts(2048))
    tokens, computed = left.total(), 0
    tokens = sum(length * count for length, count in left.items())
    while left:
        planned = plan_batch([Take(*item) for item in sorted(left.items())], max(left), LIMITS)
        computed += planned.rows * planned.length
        left -= Counter(taken(planned))
    assert computed / tokens < 1.06
