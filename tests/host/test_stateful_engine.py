"""The engine that serves one request at a time, on the CPU with a real model in exact arithmetic."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.engines.stateful import StaticShape, static_shape
from ipc.errors import ErrorCode
from ipc.messages import Fatal, Ready, TokenPrompt
from ipc.progress import Phase
from tests.exact import EXACT
from tests.host.harness import HostUnderTest, chat, host_running, launch_of

PROMPTS = ["The capital of France is", "Once upon a time", "1 2 3 4"]
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 30}
SEEDED: dict[str, Any] = {"temperature": 0.8, "seed": 7, "max_tokens": 30}
ENDLESS: dict[str, Any] = {"temperature": 0.0, "max_tokens": 4000, "ignore_eos": True}
MAX_PROMPT = 3000


@pytest.fixture(scope="module")
def host(smollm2_ir: Path) -> Iterator[HostUnderTest]:
    properties = EXACT | {"MAX_PROMPT_LEN": str(MAX_PROMPT)}
    with host_running(
        launch_of(smollm2_ir, engine="stateful", max_num_seqs=1, properties=properties, prefix_caching=False)
    ) as running:
        yield running


def idle(host: HostUnderTest) -> bool:
    return host.gauges is not None and host.gauges.running == host.gauges.waiting == 0


def test_the_card_says_that_requests_go_one_at_a_time(host: HostUnderTest) -> None:
    card = host.first(Ready).card
    assert (card.slots, card.context_length, card.vocab_size) == (1, 8192, 49152)


def test_texts_are_those_of_the_batching_engine(qwen3_ir: Path) -> None:
    values = [GREEDY, GREEDY | {"repetition_penalty": 1.3}, SEEDED]
    stateful = launch_of(qwen3_ir, engine="stateful", max_num_seqs=1, prefix_caching=False)
    with host_running(stateful) as host:
        outcomes = [host.run(prompt, **each) for prompt in PROMPTS for each in values]
    with host_running(launch_of(qwen3_ir)) as batching:
        expected = [batching.run(prompt, **each) for prompt in PROMPTS for each in values]
    assert [(o.token_ids, o.text, o.finish_reason) for o in outcomes] == [
        (o.token_ids, o.text, o.finish_reason) for o in expected
    ]


def test_a_chat_ends_where_the_model_ends_it(host: HostUnderTest) -> None:
    outcome = host.run(chat("What is the capital of France?"), **GREEDY)
    assert (outcome.text, outcome.finish_reason) == ("The capital of France is Paris.", "stop")


def test_tokens_come_as_they_are_made(host: HostUnderTest) -> None:
    request = host.start(PROMPTS[1], **ENDLESS)
    host.wait(lambda: 0 < len(host.outcomes[request].token_ids) < 100)
    host.cancel(request)


def test_requests_wait_for_each_other_in_order(host: HostUnderTest) -> None:
    long = GREEDY | {"max_tokens": 150, "ignore_eos": True}
    requests = [host.start(PROMPTS[0], **long), *(host.start(p, **GREEDY) for p in PROMPTS[1:])]
    host.wait(lambda: host.gauges is not None and host.gauges.waiting == 2)
    host.wait(lambda: bool(host.outcomes[requests[2]].token_ids))
    assert host.outcomes[requests[0]].ended and host.outcomes[requests[1]].ended
    host.finish(*requests)


def test_max_tokens_and_stop_strings_end_a_request(host: HostUnderTest) -> None:
    outcome = host.run("Once upon a time", temperature=0.0, max_tokens=1)
    assert (outcome.finish_reason, len(outcome.token_ids)) == ("length", 1)
    outcome = host.run("1 2 3 4", temperature=0.0, max_tokens=60, stop=["11", "8 9"])
    assert (outcome.text, outcome.finish_reason) == (" 5 6 7 ", "stop")
    assert host.run("1 2 3 4", **GREEDY).finish_reason == "length"


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_cancelled_request_makes_room_for_the_next(host: HostUnderTest, phase: str) -> None:
    request = host.start(TokenPrompt([600] * (900 if phase == "prefill" else 4)), **ENDLESS)
    tokens = host.outcomes[request].token_ids
    host.wait(lambda: host.gauges is not None and host.gauges.running == 1)
    host.wait(lambda: phase == "prefill" or len(tokens) > 3)
    host.cancel(request)
    host.wait(lambda: idle(host), deadline=5)
    assert not host.outcomes[request].ended
    assert (len(tokens) == 0) is (phase == "prefill")
    assert host.run("The capital of France is", **GREEDY).text.startswith(" Paris.")


def test_the_host_stays_responsive_through_a_long_prefill(host: HostUnderTest) -> None:
    request = host.start(TokenPrompt([600] * 1200), temperature=0.0, max_tokens=1)
    host.wait(lambda: host.gauges is not None and host.gauges.running == 1)
    beats = set()

    def has_beaten() -> bool:
        progress = host.progress.read()
        assert progress is not None and progress.phase is Phase.STEP
        beats.add(progress.beat)
        return len(beats) > 5

    host.wait(has_beaten)
    refused = host.run(TokenPrompt([10**6]), **GREEDY)  # answered meanwhile
    assert refused.error is not None
    assert not host.outcomes[request].ended
    host.finish(request)


@pytest.mark.parametrize("values", [GREEDY | {"ignore_eos": True}, SEEDED], ids=["greedy", "seeded"])
def test_a_text_goes_on_as_if_uninterrupted(host: HostUnderTest, values: dict[str, Any]) -> None:
    whole = host.run("Once upon a time", **values)
    for cut in (1, 2, 17, 29, 30):
        rest = host.run("Once upon a time", whole.token_ids[:cut], **values)
        assert rest.error is None
        assert rest.token_ids == whole.token_ids[cut:]
        assert (rest.text, rest.finish_reason) == (whole.text[whole.shown[cut - 1] :], whole.finish_reason)


def test_a_failed_request_leaves_those_that_wait(host: HostUnderTest) -> None:
    guilty = host.start("bad [[fault:raise]]", **GREEDY)
    bad, good = host.finish(guilty, host.start(PROMPTS[0], **GREEDY))
    assert bad.error.code is ErrorCode.ENGINE_FAILED
    assert good.text.startswith(" Paris.")


def test_an_overlong_prompt_is_refused_by_our_own_count(host: HostUnderTest) -> None:
    error = host.run(TokenPrompt([600] * (MAX_PROMPT + 1)), **GREEDY).error
    assert (error.code, error.param) == (ErrorCode.CONTEXT_LENGTH_EXCEEDED, "prompt")
    assert str(MAX_PROMPT) in error.message


def test_log_probabilities_are_refused_by_name(host: HostUnderTest) -> None:
    error = host.run("hi", **GREEDY, logprobs=True).error
    assert (error.code, error.param) == (ErrorCode.INVALID_VALUE, "logprobs")


def test_a_token_that_never_comes_ends_the_host(smollm2_ir: Path) -> None:
    launch = launch_of(smollm2_ir, engine="stateful", max_num_seqs=1, stall_seconds=0.3)
    with host_running(launch) as host:
        host.start(TokenPrompt([600] * 6000), **GREEDY)
        assert host.wait_exit() == 1
        assert "no token came" in host.first(Fatal).reason


def test_an_npu_is_compiled_for_bounds_that_hold_together() -> None:
    def shape(**changes: Any) -> StaticShape:
        return static_shape(launch_of("", engine="stateful", device="NPU", **changes))

    assert shape(properties={}) == (1024, 1152)
    assert shape(properties={}, context_length=4096) == (3968, 4096)
    assert shape(properties={"MAX_PROMPT_LEN": "2048", "MIN_RESPONSE_LEN": "512"}) == (2048, 2560)
    assert static_shape(launch_of("", properties={})) == (None, None)
