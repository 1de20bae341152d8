"""Workloads: the same seed asks the same, and no prompt shares its beginning with another."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.workload import Workload, poisson_arrivals, text_prompt, token_prompt


def _workload(**changes: object) -> Workload:
    return Workload(**{"requests": 50, "max_tokens": 8, "prompt_words": 12, "seed": 3} | changes)  # type: ignore[arg-type]


@given(st.integers(), st.integers(0, 1000), st.integers(1, 300))
def test_a_prompt_has_the_words_asked_for_and_is_the_same_every_time(
    seed: int, index: int, words: int
) -> None:
    prompt = text_prompt(seed, index, words)
    assert len(prompt.split(" ")) == words
    assert prompt == text_prompt(seed, index, words)


def test_prompts_differ_from_their_first_word_so_that_prefix_caching_hides_nothing() -> None:
    prompts = _workload().prompts()
    assert len({prompt.split(" ")[0] for prompt in prompts if isinstance(prompt, str)}) == 50


def test_another_seed_asks_something_else() -> None:
    assert not set(map(str, _workload(seed=1).prompts())) & set(map(str, _workload(seed=2).prompts()))


def test_token_prompts_have_exactly_the_tokens_asked_for() -> None:
    prompts = _workload(prompt_tokens=33).prompts()
    assert {len(prompt) for prompt in prompts} == {33}
    assert len({tuple(prompt) for prompt in prompts}) == 50
    assert prompts[4] == token_prompt(3, 4, 33)


def test_a_closed_loop_has_no_arrival_times() -> None:
    assert _workload(concurrency=4).arrivals() is None


@given(st.integers(), st.floats(0.1, 1000), st.integers(1, 50))
def test_arrivals_start_at_once_and_never_go_back(seed: int, rate: float, count: int) -> None:
    arrivals = poisson_arrivals(seed, rate, count)
    assert len(arrivals) == count
    assert arrivals[0] == 0
    assert all(before <= after for before, after in pairwise(arrivals))
    assert arrivals == poisson_arrivals(seed, rate, count)


def test_arrivals_come_at_the_rate_asked_for() -> None:
    arrivals = poisson_arrivals(seed=0, rate=20, count=20_000)
    gaps = [after - before for before, after in pairwise(arrivals)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert mean == pytest.approx(1 / 20, rel=0.05)
    assert variance == pytest.approx(1 / 20**2, rel=0.1)  # an exponential's, not a metronome's


def test_prompts_share_the_prefix_that_was_asked_for_and_nothing_else():
    workload = Workload(
        requests=2, max_tokens=1, prompt_words=0, seed=3, prompt_tokens=5, shared_prefix_tokens=20
    )
    first, second = workload.prompts()
    assert first[:20] == second[:20]
    assert len(first) == len(second) == 25
    assert first[20:] != second[20:]
