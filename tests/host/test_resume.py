"""Going on where another host was lost, on a real model in exact arithmetic: nothing doubled or lost."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ipc.errors import ErrorCode
from tests.host.harness import HostUnderTest, Outcome, chat, host_running, launch_of

STORY = "Once upon a time"
PARTY = chat("Answer with many emoji: what is a party? \U0001f389\U0001f388\u3053\u3093\u306b\u3061\u306f")
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 40}


@pytest.fixture(scope="module")
def host(smollm2_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(launch_of(smollm2_ir)) as running:
        yield running


def assert_goes_on(
    host: HostUnderTest, whole: Outcome, prompt: Any, cuts: Sequence[int], **values: Any
) -> None:
    """All cuts in one batch: in exact arithmetic its texts are those of requests alone."""
    rests = host.finish(*(host.start(prompt, whole.token_ids[:cut], **values) for cut in cuts))
    for cut, rest in zip(cuts, rests, strict=True):
        assert rest.error is None
        assert rest.token_ids == whole.token_ids[cut:]
        assert rest.text == whole.text[whole.shown[cut - 1] :]
        assert (rest.finish_reason, rest.stop) == (whole.finish_reason, whole.stop)


@pytest.mark.parametrize(
    "values",
    [
        GREEDY,
        {"max_tokens": 40, "temperature": 0.8, "seed": 7},  # generated again, silently
        GREEDY | {"presence_penalty": 1.0, "frequency_penalty": 0.5},
        GREEDY | {"repetition_penalty": 1.3},
        GREEDY | {"min_tokens": 30},
        GREEDY | {"ignore_eos": True},
        GREEDY | {"skip_special_tokens": False, "logprobs": True, "stop_token_ids": [3]},
    ],
    ids=["greedy", "seeded", "penalties", "repetition", "min_tokens", "ignore_eos", "tokens"],
)
def test_a_text_goes_on_as_if_uninterrupted(host: HostUnderTest, values: dict[str, Any]) -> None:
    whole = host.run(STORY, **values)
    assert len(whole.token_ids) == 40
    assert_goes_on(host, whole, STORY, [1, 2, 17, 39, 40], **values)


def test_characters_of_several_tokens_are_not_cut_wherever_the_host_is_lost(host: HostUnderTest) -> None:
    whole = host.run(PARTY, **GREEDY)
    # Not behind the last token: it arrives with the end of the text, which shows what was held back.
    assert_goes_on(host, whole, PARTY, range(1, len(whole.token_ids), 3), **GREEDY)


@pytest.mark.parametrize(("include", "end"), [(False, "6, "), (True, "6, 7, 8")])
def test_a_stop_string_that_spans_the_death_is_found(host: HostUnderTest, include: bool, end: str) -> None:
    values = GREEDY | {"stop": ["7, 8"], "include_stop": include}
    whole = host.run("1, 2, 3, 4,", **values)
    assert (whole.finish_reason, whole.stop) == ("stop", "7, 8")
    assert whole.text.endswith(end)
    assert_goes_on(host, whole, "1, 2, 3, 4,", range(1, len(whole.token_ids) + 1), **values)


@pytest.mark.parametrize("include", [False, True])
def test_a_stop_token_that_was_sent_ends_the_request_in_the_next_host(
    host: HostUnderTest, include: bool
) -> None:
    plain = host.run("1, 2, 3, 4,", **GREEDY)
    values = GREEDY | {"stop_token_ids": [plain.token_ids[8]], "include_stop": include}
    whole = host.run("1, 2, 3, 4,", **values)
    assert_goes_on(host, whole, "1, 2, 3, 4,", range(1, len(whole.token_ids) + 1), **values)


def test_a_request_that_lacked_only_its_end_ends_at_once(host: HostUnderTest) -> None:
    whole = host.run(chat("What is the capital of France?"), **GREEDY)
    assert whole.finish_reason == "stop"
    rest = host.run(chat("What is the capital of France?"), whole.token_ids, **GREEDY)
    assert (rest.token_ids, rest.text, rest.finish_reason) == ([], "", "stop")


def test_tokens_that_do_not_come_again_are_a_typed_failure(host: HostUnderTest) -> None:
    rest = host.run(STORY, [5, 6, 7], max_tokens=20, temperature=0.8, seed=7)
    assert rest.error is not None
    assert rest.error.code is ErrorCode.ENGINE_FAILED


def test_token_ids_to_resume_from_are_checked(host: HostUnderTest) -> None:
    assert host.run(STORY, [10**6], **GREEDY).error is not None


def test_an_unseeded_sample_goes_on_with_fresh_chance(host: HostUnderTest) -> None:
    values: dict[str, Any] = {"temperature": 1.0, "max_tokens": 30, "ignore_eos": True}
    first = host.run(STORY, **values)
    rests = {tuple(host.run(STORY, first.token_ids[:10], **values).token_ids) for _ in range(3)}
    assert len(rests) > 1
    assert all(len(rest) == 20 for rest in rests)
