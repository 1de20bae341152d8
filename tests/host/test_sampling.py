"""Sampling values: defaults, ranges, and room in the context and the KV cache."""

import math
from typing import Any

import pytest

from host.engines.base import RequestRefused
from host.model_folder import SamplingDefaults
from host.sampling import Choices, Limits, check_token_ids, resolve, tokens_to_keep
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Sampling

LIMITS = Limits(context_length=100, vocab_size=1000, kv_cache_tokens=80)
DEFAULTS = SamplingDefaults(temperature=0.6, top_p=0.9, top_k=20)


def choose(prompt_tokens: int = 10, **values: Any) -> Choices:
    return resolve(Sampling(**values), DEFAULTS, LIMITS, prompt_tokens, "messages")


def refusal(prompt_tokens: int = 10, **values: Any) -> RequestError:
    with pytest.raises(RequestRefused) as caught:
        choose(prompt_tokens, **values)
    return caught.value.error


def test_what_is_not_given_comes_from_the_model() -> None:
    choices = choose()
    assert choices.temperature == pytest.approx(0.6)
    assert choices.top_p == pytest.approx(0.9)
    assert choices.top_k == 20


def test_what_is_given_wins_even_if_it_is_zero() -> None:
    choices = choose(temperature=0.0, top_k=0, seed=0)
    assert (choices.temperature, choices.top_k, choices.seed) == (0.0, 0, 0)


def test_the_openai_defaults_hold_where_the_model_says_nothing() -> None:
    choices = resolve(Sampling(), SamplingDefaults(), LIMITS, 1, "prompt")
    assert (choices.temperature, choices.top_p, choices.top_k) == (1.0, 1.0, 0)


def test_minus_one_switches_top_k_off() -> None:
    assert choose(top_k=-1).top_k == 0


def test_a_tiny_temperature_is_greedy() -> None:
    assert choose(temperature=1e-9).temperature == 0.0


def test_without_max_tokens_all_room_is_used() -> None:
    assert choose(prompt_tokens=30).max_tokens == 50


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("temperature", value) for value in (-1.0, math.nan, math.inf, 1e300)],
        *[("top_p", value) for value in (0.0, -0.1, 1.1, math.nan, 1e-300)],
        *[("min_p", value) for value in (-0.1, 1.0, math.nan, 0.999999999999)],
        *[("repetition_penalty", value) for value in (0.0, -1.0, math.nan, math.inf, 1e-300, 1e300)],
        *[("presence_penalty", value) for value in (-2.1, 2.1, math.nan)],
        *[("frequency_penalty", value) for value in (-2.1, 2.1, math.nan)],
        *[("max_tokens", value) for value in (-1, -5)],
        *[("min_tokens", value) for value in (-1, -99)],
        *[("seed", value) for value in (-1, 2**64)],
        ("top_k", 2**31),
        ("stop", ["a", ""]),
    ],
)
def test_a_value_outside_its_range_is_refused_by_name(name: str, value: Any) -> None:
    error = refusal(**{name: value})
    assert (error.code, error.param) == (ErrorCode.INVALID_VALUE, name)


@pytest.mark.parametrize("asked", [{}, {"max_tokens": 1}, {"max_tokens": 1000}])
def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers(asked: dict[str, Any]) -> None:
    error = refusal(prompt_tokens=103, **asked)
    assert (error.code, error.param) == (ErrorCode.CONTEXT_LENGTH_EXCEEDED, "messages")
    assert "100" in error.message and "103" in error.message
    assert error.sizes == (103, 100)
    assert refusal(prompt_tokens=100, **asked).code is ErrorCode.CONTEXT_LENGTH_EXCEEDED
    full = refusal(prompt_tokens=80, **asked)
    assert (full.code, full.sizes) == (ErrorCode.KV_CACHE_EXCEEDED, (80, 80))


def test_more_tokens_than_there_is_room_for_are_cut_to_the_room() -> None:
    assert choose(max_tokens=1000).max_tokens == 70
    assert choose(max_tokens=5).max_tokens == 5
    assert choose(prompt_tokens=79, max_tokens=32_000).max_tokens == 1
    assert choose(max_tokens=1000, min_tokens=500).min_tokens == 70
    assert choose(max_tokens=5, min_tokens=3).min_tokens == 3
    assert choose(min_tokens=500).min_tokens == 70


@pytest.mark.parametrize("max_tokens", [0, 5, 1000])
def test_more_tokens_at_least_than_at_most_are_refused(max_tokens: int) -> None:
    error = refusal(max_tokens=max_tokens, min_tokens=max_tokens + 1)
    assert (error.code, error.param) == (ErrorCode.INVALID_VALUE, "min_tokens")


def test_a_prompt_without_an_answer_may_fill_all_room() -> None:
    assert choose(prompt_tokens=80, max_tokens=0).max_tokens == 0
    assert refusal(prompt_tokens=81, max_tokens=0).code is ErrorCode.KV_CACHE_EXCEEDED


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({}, None),
        ({"truncate_prompt": 7}, 7),
        ({"truncate_prompt": -1}, 79),
        ({"truncate_prompt": -1, "max_tokens": 30}, 50),
        ({"truncate_prompt": -1, "max_tokens": 500}, 40),
    ],
)
def test_a_prompt_can_be_cut_to_its_last_tokens(asked: dict[str, Any], kept: int | None) -> None:
    assert tokens_to_keep(Sampling(**asked), LIMITS) == kept


@pytest.mark.parametrize("asked", [0, -2])
def test_a_prompt_cannot_be_cut_to_nothing(asked: int) -> None:
    with pytest.raises(RequestRefused, match="truncate_prompt_tokens"):
        tokens_to_keep(Sampling(truncate_prompt=asked), LIMITS)


def test_a_grammar_ends_a_text_by_itself() -> None:
    choices = resolve(
        Sampling(ignore_eos=True, temperature=0.0), DEFAULTS, LIMITS, 10, "messages", structural_tag="{}"
    )
    assert (choices.ignore_eos, choices.stop_at_turns, choices.can_be_continued) == (False, False, False)
    assert not choose(ignore_eos=True).stop_at_turns
    assert choose().stop_at_turns


def test_stop_tokens_are_checked_by_name() -> None:
    assert refusal(stop_token_ids=[1000]).param == "stop_token_ids"


@pytest.mark.parametrize("token_id", [-3, 1000, 10**6, 2**40])
def test_token_ids_outside_the_vocabulary_are_refused(token_id: int) -> None:
    with pytest.raises(RequestRefused, match=str(token_id)):
        check_token_ids([0, 999, token_id], LIMITS)


@pytest.mark.parametrize(
    ("values", "can"),
    [
        ({}, True),
        ({"seed": 0}, False),
        ({"presence_penalty": 1.0}, False),
        ({"frequency_penalty": -1.0}, False),
    ],
)
def test_seeds_and_penalties_rule_out_continuing_from_a_longer_prompt(
    values: dict[str, Any], can: bool
) -> None:
    assert choose(**values).can_be_continued is can
