"""The real engine on a real model, SmolLM2-135M-Instruct, in exact arithmetic: texts can be compared."""

import json
import random
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from host.model_folder import read_model_folder
from ipc.errors import ErrorCode
from ipc.kv_cache import block_bytes
from ipc.messages import ChatPrompt, Fatal, Gauges, Ready, TextInput, TextPrompt, TokenPrompt
from tests.exact import EXACT
from tests.host.harness import HostUnderTest, chat, copy_of, host_running, launch_of

PROMPTS = [
    "The capital of France is",
    "Once upon a time",
    "1 2 3 4 5",
    "Water boils at",
    "My favourite colour is",
]
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 30}
ENDLESS: dict[str, Any] = {"temperature": 0.0, "max_tokens": 1000, "ignore_eos": True}
KV_TOKENS = 2048


@pytest.fixture(scope="module")
def host(smollm2_ir: Path) -> Iterator[HostUnderTest]:
    block_bytes = 30 * 3 * 64 * 32 * 2 * 4  # layers, KV heads, head dim, tokens, keys and values, f32
    with host_running(launch_of(smollm2_ir, kv_cache_bytes=KV_TOKENS // 32 * block_bytes)) as running:
        yield running


@pytest.fixture(scope="module")
def alone(host: HostUnderTest) -> list[str]:
    """What each prompt gives when nothing else runs."""
    return [host.run(prompt, **GREEDY).text for prompt in PROMPTS]


def idle(host: HostUnderTest) -> bool:
    return host.gauges is not None and host.gauges.running == host.gauges.waiting == 0


def running(host: HostUnderTest, count: int) -> bool:
    return host.gauges is not None and host.gauges.running + host.gauges.waiting == count


def test_the_card_describes_the_model(host: HostUnderTest) -> None:
    card = host.first(Ready).card
    assert (card.context_length, card.vocab_size, card.kv_cache_tokens) == (8192, 49152, KV_TOKENS)
    assert "<|im_start|>" in card.chat_template
    assert re.fullmatch("fp_[0-9a-f]{10}", card.fingerprint)
    assert card.load_seconds > 0


def test_a_chat_is_answered_greedily_right(host: HostUnderTest) -> None:
    outcome = host.run(chat("What is the capital of France?"), **GREEDY)
    assert outcome.text == "The capital of France is Paris."
    assert (outcome.finish_reason, outcome.token_ids[-1]) == ("stop", 2)
    assert (
        outcome.prompt_tokens is not None and outcome.prompt_tokens > 30
    )  # with the template's system prompt


def test_a_text_is_continued(alone: list[str]) -> None:
    assert alone[0].startswith(" Paris.")


def test_max_tokens_ends_a_request(host: HostUnderTest) -> None:
    outcome = host.run("Once upon a time", temperature=0.0, max_tokens=7)
    assert (outcome.finish_reason, len(outcome.token_ids)) == ("length", 7)


def test_a_batch_gives_what_each_gives_alone(host: HostUnderTest, alone: list[str]) -> None:
    outcomes = host.finish(*(host.start(prompt, **GREEDY) for prompt in PROMPTS))
    assert [outcome.text for outcome in outcomes] == alone


def test_a_stop_string_ends_the_text_before_it(host: HostUnderTest) -> None:
    outcome = host.run("1 2 3 4", temperature=0.0, max_tokens=60, stop=["11", "8 9"])
    assert (outcome.text, outcome.finish_reason) == (" 5 6 7 ", "stop")
    host.wait(lambda: idle(host))


def test_a_stop_string_counts_only_after_min_tokens(host: HostUnderTest) -> None:
    outcome = host.run("1 2 3 4", temperature=0.0, max_tokens=40, stop=["6"], min_tokens=8)
    assert "6" in outcome.text
    assert len(outcome.token_ids) >= 8


def test_unseeded_requests_differ_and_seeded_ones_repeat(host: HostUnderTest) -> None:
    def sample(**values: Any) -> str:
        return host.run("Once upon a time", temperature=1.0, max_tokens=12, **values).text

    assert len({sample() for _ in range(3)}) > 1
    assert sample(seed=0) == sample(seed=0) != sample(seed=1)


def test_ignore_eos_goes_on(host: HostUnderTest) -> None:
    outcome = host.run(chat("What is the capital of France?"), **GREEDY, ignore_eos=True)
    assert (outcome.finish_reason, len(outcome.token_ids)) == ("length", 30)
    assert "<|im_end|>" not in outcome.text


@pytest.mark.parametrize(
    ("prompt", "values", "code", "param"),
    [
        (TextPrompt(""), {}, ErrorCode.INVALID_VALUE, "prompt"),
        (TokenPrompt([]), {}, ErrorCode.INVALID_VALUE, "prompt"),
        (ChatPrompt([]), {}, ErrorCode.INVALID_VALUE, "messages"),
        (TokenPrompt([5, 10**6]), {}, ErrorCode.INVALID_VALUE, "prompt"),
        (TokenPrompt([2**40]), {}, ErrorCode.INVALID_VALUE, "prompt"),
        (TokenPrompt([-3]), {}, ErrorCode.INVALID_VALUE, "prompt"),
        (TextPrompt("a " * 9000), {}, ErrorCode.CONTEXT_LENGTH_EXCEEDED, "prompt"),
        (TextPrompt("a" * 3_000_000), {}, ErrorCode.CONTEXT_LENGTH_EXCEEDED, "prompt"),
        (chat("a " * 9000), {}, ErrorCode.CONTEXT_LENGTH_EXCEEDED, "messages"),
        (TokenPrompt([600] * KV_TOKENS), {}, ErrorCode.KV_CACHE_EXCEEDED, "prompt"),
        (TextPrompt("hi"), {"max_tokens": -1}, ErrorCode.INVALID_VALUE, "max_tokens"),
        (TextPrompt("hi"), {"temperature": -1.0}, ErrorCode.INVALID_VALUE, "temperature"),
        (TextPrompt("hi"), {"seed": -1}, ErrorCode.INVALID_VALUE, "seed"),
    ],
)
def test_a_bad_request_is_refused_by_name(
    host: HostUnderTest, prompt: Any, values: dict[str, Any], code: ErrorCode, param: str
) -> None:
    prompt = host.share(TextInput(prompt)) if len(getattr(prompt, "text", "")) > 60_000 else prompt
    error = host.run(prompt, **values).error
    assert (error.code, error.param) == (code, param)
    assert "/" not in error.message


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 1e38},
        {"temperature": 1e-5},
        {"repetition_penalty": 1e38},
        {"repetition_penalty": 1e-38},
        {"presence_penalty": 2.0, "frequency_penalty": -2.0},
        {"top_p": 1e-30, "top_k": 2**31 - 1, "min_p": 0.999},
        {"seed": 2**64 - 1},
        {"min_tokens": 4},
    ],
)
def test_extreme_values_in_range_are_served(host: HostUnderTest, values: dict[str, Any]) -> None:
    assert host.run("Once upon a time", max_tokens=4, **values).finish_reason in ("stop", "length")


def test_a_large_prompt_in_shared_memory_is_read_and_released(host: HostUnderTest) -> None:
    text = ("supercalifragilistic " * 3500)[:70_000]
    error = host.run(host.share(TextInput(TextPrompt(text))), max_tokens=1).error
    assert error.code is ErrorCode.CONTEXT_LENGTH_EXCEEDED
    filler = " " * 66_000  # runs of blanks make long tokens
    whole = TextInput(TextPrompt(filler + "The capital of France is"))
    assert host.run(host.share(whole), **GREEDY).finish_reason
    assert host.arena.leased_bytes == 0


def test_a_request_may_fill_the_whole_kv_cache(host: HostUnderTest) -> None:
    ids = [504] * (KV_TOKENS - 20)
    for max_tokens in (20, 32_000):
        outcome = host.run(TokenPrompt(ids), max_tokens=max_tokens, ignore_eos=True)
        assert (len(outcome.token_ids), outcome.finish_reason) == (20, "length")


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_cancelled_request_leaves_the_engine(host: HostUnderTest, phase: str) -> None:
    request = host.start(TokenPrompt([600] * (1900 if phase == "prefill" else 4)), **ENDLESS)
    tokens = host.outcomes[request].token_ids
    host.wait(lambda: running(host, 1) and (phase == "prefill" or len(tokens) > 3))
    seen = len(host.received)
    host.cancel(request)
    host.wait(lambda: idle(host), deadline=5)
    assert not host.outcomes[request].ended
    assert (len(tokens) == 0) is (phase == "prefill")
    assert any(isinstance(message, Gauges) for message in host.received[seen:])


def test_requests_that_wait_inside_the_engine_can_be_cancelled(qwen3_ir: Path) -> None:
    with host_running(launch_of(qwen3_ir, max_num_seqs=1)) as host:
        endless = ENDLESS | {"max_tokens": 4000}
        requests = [host.start(prompt, **endless) for prompt in PROMPTS[:3]]
        host.wait(lambda: host.gauges is not None and (host.gauges.running, host.gauges.waiting) == (1, 2))
        for request in requests[1:]:
            host.cancel(request)
        host.wait(lambda: running(host, 1), deadline=5)
        host.cancel(requests[0])
        host.wait(lambda: idle(host), deadline=5)


def test_requests_that_fit_one_by_one_all_end_when_the_kv_cache_is_full(qwen3_ir: Path) -> None:
    shape = read_model_folder(qwen3_ir).kv_shape
    blocks = 20 * block_bytes(shape, "CPU", EXACT)
    launch = partial(launch_of, qwen3_ir, kv_cache_bytes=blocks, max_num_seqs=6)
    chance = random.Random(2)
    texts = [[chance.randrange(1000, 9000) for _ in range(400)] for _ in range(3)]
    asked: list[tuple[TokenPrompt, dict[str, Any]]] = []
    for _ in range(14):
        ids = chance.choice(texts)[: chance.randrange(1, 400)]
        ids = ids + [chance.randrange(1000, 9000) for _ in range(chance.choice([0, 1, 20, 100]))]
        tokens = min(chance.choice([5, 40, 150]), 20 * 32 - len(ids))
        asked.append((TokenPrompt(ids), {"temperature": 0.0, "max_tokens": tokens, "ignore_eos": True}))

    def together(host: HostUnderTest) -> list[list[int]]:
        outcomes = host.finish(*[host.start(prompt, **fields) for prompt, fields in asked])
        assert [outcome.error for outcome in outcomes] == [None] * len(asked)
        return [outcome.token_ids for outcome in outcomes]

    with host_running(launch(prefix_caching=False)) as host:
        alone = [host.run(prompt, **fields).token_ids for prompt, fields in asked]
        assert together(host) == alone
    with host_running(launch(prefix_caching=True)) as host:
        assert together(host) == alone
        assert together(host) == alone  # with the prefixes that the first round left in the cache


def test_drain_finishes_what_runs(qwen3_ir: Path) -> None:
    with host_running(launch_of(qwen3_ir)) as host:
        request = host.start(PROMPTS[0], temperature=0.0, max_tokens=200, ignore_eos=True)
        host.drain()
        assert host.wait_exit() == 0
        assert len(host.outcomes[request].token_ids) == 200


# --- a poisoned pipeline ------------------------------------------------------------------------------


@pytest.mark.parametrize("marker", ["[[fault:raise]]", "[[fault:raise@5]]"])
def test_one_bad_request_leaves_its_neighbours_texts_as_they_were(
    host: HostUnderTest, alone: list[str], marker: str
) -> None:
    neighbours = [host.start(prompt, **GREEDY) for prompt in PROMPTS]
    host.wait(lambda: all(len(host.outcomes[request].token_ids) > 2 for request in neighbours))
    guilty = host.start(f"bad {marker}", **GREEDY)
    *outcomes, bad = host.finish(*neighbours, guilty)
    assert [outcome.text for outcome in outcomes] == alone
    assert bad.error.code is ErrorCode.ENGINE_FAILED
    assert "/" not in bad.error.message


def test_bad_requests_among_newcomers_are_found_one_by_one(host: HostUnderTest, alone: list[str]) -> None:
    first = [host.start(prompt, **GREEDY) for prompt in PROMPTS[:2]]
    guilty = [host.start("bad [[fault:raise]]", **GREEDY) for _ in range(2)]
    last = [host.start(prompt, **GREEDY) for prompt in PROMPTS[2:]]
    outcomes = host.finish(*first, *last)
    assert [outcome.text for outcome in outcomes] == alone
    assert all(outcome.error.code is ErrorCode.ENGINE_FAILED for outcome in host.finish(*guilty))
    host.wait(lambda: idle(host))


@pytest.mark.parametrize(
    "values", [{"seed": 7, "temperature": 1.0}, {"presence_penalty": 1.5, "temperature": 0.0}]
)
def test_what_cannot_be_continued_is_started_over_and_shows_nothing_twice(
    host: HostUnderTest, values: dict[str, Any]
) -> None:
    undisturbed = host.run("Once upon a time", max_tokens=40, **values)
    request = host.start("Once upon a time", max_tokens=40, **values)
    host.wait(lambda: len(host.outcomes[request].token_ids) > 5)
    (bad,) = host.finish(host.start("bad [[fault:raise]]", **GREEDY))
    assert bad.error.code is ErrorCode.ENGINE_FAILED
    (outcome,) = host.finish(request)
    assert (outcome.text, outcome.token_ids) == (undisturbed.text, undisturbed.token_ids)


# --- loads that fail -------------------------------------------------------------------------------------


def fatal(path: Path, **changes: Any) -> str:
    """The one line of a load that would fail again."""
    host = HostUnderTest(launch_of(path, **changes))
    try:
        assert host.wait_exit() == 1
        said = host.first(Fatal)
        assert said.permanent
        assert "Traceback" in said.detail
        assert "Traceback" not in host.stderr
        assert "\n" not in said.reason
        return said.reason
    finally:
        host.close()


def test_missing_files_are_named(smollm2_ir: Path, tmp_path: Path) -> None:
    folder = copy_of(smollm2_ir, tmp_path / "model")
    (folder / "openvino_model.bin").unlink()
    assert "lacks openvino_model.bin" in fatal(folder)


def test_a_broken_config_is_named(smollm2_ir: Path, tmp_path: Path) -> None:
    folder = copy_of(smollm2_ir, tmp_path / "model")
    (folder / "config.json").write_text("{")
    assert "config.json is not valid JSON" in fatal(folder)


def test_a_tokenizer_of_another_model_is_named(qwen3_ir: Path, e5_ir: Path, tmp_path: Path) -> None:
    folder = copy_of(qwen3_ir, tmp_path / "model")
    for suffix in ("xml", "bin"):
        (folder / f"openvino_tokenizer.{suffix}").unlink()
        shutil.copy(e5_ir / f"openvino_tokenizer.{suffix}", folder)
    assert "openvino_tokenizer.xml belongs to another model" in fatal(folder)


def test_a_chat_template_in_json_is_bounded(qwen3_ir: Path, tmp_path: Path) -> None:
    folder = copy_of(qwen3_ir, tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x" * 2_000_000}))
    assert "has 2000000 characters, at most" in fatal(folder)


def test_a_device_that_is_not_there_is_named(smollm2_ir: Path) -> None:
    reason = fatal(smollm2_ir, device="GPU.7")
    assert "GPU" in reason and "src/" not in reason


def test_a_property_that_does_not_exist_is_named(smollm2_ir: Path) -> None:
    assert "NO_SUCH_PROPERTY" in fatal(smollm2_ir, properties={"NO_SUCH_PROPERTY": "1"})


def test_a_model_without_a_template_still_completes(qwen3_ir: Path, tmp_path: Path) -> None:
    folder = copy_of(qwen3_ir, tmp_path / "model")
    (folder / "chat_template.jinja").write_text("{% broken")
    with host_running(launch_of(folder)) as host:
        assert host.first(Ready).card.chat_template == ""
        error = host.run(chat("hello")).error
        assert (error.code, error.param) == (ErrorCode.CHAT_TEMPLATE_FAILED, "messages")
        assert host.run("hello", max_tokens=1).finish_reason == "length"


def scores(host: HostUnderTest, prompt: Any, **values: Any) -> list[float]:
    outcome = host.run(prompt, temperature=0.0, score_prompt=True, **values)
    assert outcome.error is None and len(outcome.prompt_logprobs) == outcome.prompt_tokens
    return outcome.prompt_logprobs[1:]


@pytest.mark.parametrize("prompt", PROMPTS[:2])
def test_a_prompt_scores_what_its_tokens_scored_when_they_were_generated(
    host: HostUnderTest, prompt: str
) -> None:
    """Also where the prefix cache holds all of it, again and again, and whatever its length."""
    written = host.run(prompt, **GREEDY, logprobs=True, ignore_eos=True)
    ids = written.prompt_token_ids + written.token_ids
    for length in (len(ids), len(ids), len(written.prompt_token_ids) + 1):
        given = scores(host, TokenPrompt(ids[:length]), max_tokens=0)[len(written.prompt_token_ids) - 1 :]
        assert given == pytest.approx(written.logprobs[: len(given)], abs=1e-3)


def test_a_long_prompt_is_scored_and_continued(host: HostUnderTest) -> None:
    """Longer than a step: a part is cached, the rest is not, and the answer is what it would have been."""
    ids = [600 + number * 7 % 900 for number in range(400)]
    plain = host.run(TokenPrompt(ids[:300]), **GREEDY, ignore_eos=True)
    whole = scores(host, TokenPrompt(ids), max_tokens=0)
    outcome = host.run(TokenPrompt(ids[:300]), **GREEDY, ignore_eos=True, score_prompt=True)
    assert outcome.prompt_logprobs[1:] == pytest.approx(whole[:299], abs=1e-3)
    assert outcome.token_ids == plain.token_ids


def test_prompts_are_scored_beside_texts_that_are_generated(host: HostUnderTest, alone: list[str]) -> None:
    expected = [scores(host, prompt, max_tokens=0) for prompt in PROMPTS]
    texts = [host.start(prompt, **GREEDY) for prompt in PROMPTS]
    scored = [host.start(prompt, temperature=0.0, max_tokens=1, score_prompt=True) for prompt in PROMPTS]
    assert [outcome.text for outcome in host.finish(*texts)] == alone
    for outcome, values in zip(host.finish(*scored), expected, strict=True):
        assert outcome.prompt_logprobs[1:] == pytest.approx(values, abs=1e-3)
        assert len(outcome.token_ids) == 1


def test_a_prompt_alone_can_be_asked_for(host: HostUnderTest) -> None:
    outcome = host.run("Hello, world", max_tokens=0, score_prompt=True)
    assert (outcome.token_ids, outcome.text, outcome.finish_reason) == ([], "", "length")
    assert outcome.prompt_bytes == b"Hello, world"
    assert host.run("Hello", max_tokens=0).finish_reason == "length"


def test_scoring_can_be_cancelled(host: HostUnderTest, alone: list[str]) -> None:
    scored = host.start(TokenPrompt([700] * 1500), max_tokens=0, score_prompt=True)
    host.wait(lambda: running(host, 1))
    host.cancel(scored)
    assert host.run(PROMPTS[0], **GREEDY).text == alone[0]
    assert not host.outcomes[scored].ended
