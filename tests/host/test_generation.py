"""What a request may ask of a text besides its length, on a real model in exact arithmetic."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ipc.errors import ErrorCode
from ipc.messages import ChatMessage, ChatPrompt, Detokenize, TextPrompt, Tokenize, TokenPrompt, Work
from tests.host.harness import HostUnderTest, Outcome, chat, copy_of, host_running, launch_of, payload_of

COUNT = "1 2 3 4"
FRANCE = chat("What is the capital of France?")
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 24}
ENDLESS: dict[str, Any] = {"temperature": 0.0, "max_tokens": 2000, "ignore_eos": True}
CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 8},
        "n": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["city", "n"],
    "additionalProperties": False,
}
IM_START, IM_END = 1, 2


def grammar(**of: Any) -> str:
    return json.dumps(of)


JSON_CITY = grammar(type="json_schema", json_schema=CITY)


@pytest.fixture(scope="module")
def host(smollm2_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(launch_of(smollm2_ir)) as running:
        yield running


@pytest.fixture(scope="module")
def talkative(smollm2_ir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostUnderTest]:
    """The same model without knowing that <|im_end|> ends a text: it goes on and speaks for the user."""
    folder = copy_of(smollm2_ir, tmp_path_factory.mktemp("talkative") / "model")
    for name in ("config.json", "generation_config.json"):
        (folder / name).write_text(
            json.dumps(json.loads((folder / name).read_text()) | {"eos_token_id": 0, "bos_token_id": 0})
        )
    with host_running(launch_of(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def counted(host: HostUnderTest) -> Outcome:
    return host.run(COUNT, **GREEDY)


# --- where a text stops -------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, {"ignore_eos": True}, {"skip_special_tokens": False}])
def test_a_stop_token_ends_the_text_before_it(
    host: HostUnderTest, counted: Outcome, values: dict[str, Any]
) -> None:
    token_id = counted.token_ids[3]
    outcome = host.run(COUNT, **GREEDY, **values, stop_token_ids=[token_id])
    end = counted.token_ids.index(token_id) + 1
    assert outcome.token_ids == counted.token_ids[:end]
    assert outcome.text == counted.text[: counted.shown[end - 2] if end > 1 else 0]
    assert (outcome.finish_reason, outcome.stop) == ("stop", token_id)


def test_a_stop_token_is_shown_on_demand(host: HostUnderTest, counted: Outcome) -> None:
    token_id = counted.token_ids[3]
    end = counted.token_ids.index(token_id) + 1
    outcome = host.run(COUNT, **GREEDY, stop_token_ids=[token_id], include_stop=True)
    assert outcome.text == counted.text[: counted.shown[end - 1]]


def test_a_stop_token_counts_only_after_min_tokens(host: HostUnderTest, counted: Outcome) -> None:
    token_id = counted.token_ids[0]
    outcome = host.run(COUNT, **GREEDY, stop_token_ids=[token_id], min_tokens=5)
    assert len(outcome.token_ids) >= 5


def test_a_stop_token_outside_the_vocabulary_is_refused(host: HostUnderTest) -> None:
    error = host.run(COUNT, **GREEDY, stop_token_ids=[10**6]).error
    assert (error.code, error.param) == (ErrorCode.INVALID_VALUE, "stop_token_ids")


@pytest.mark.parametrize(("include", "text"), [(False, " 5 6 7 "), (True, " 5 6 7 8 9")])
def test_a_stop_string_is_told_and_shown_on_demand(host: HostUnderTest, include: bool, text: str) -> None:
    outcome = host.run(COUNT, **GREEDY, stop=["8 9", "11"], include_stop=include)
    assert (outcome.text, outcome.finish_reason, outcome.stop) == (text, "stop", "8 9")


def test_an_end_of_its_own_names_no_stop(host: HostUnderTest) -> None:
    outcome = host.run(FRANCE, **GREEDY, skip_special_tokens=False)
    assert (outcome.text, outcome.finish_reason) == ("The capital of France is Paris.", "stop")
    assert outcome.stop is None


def test_a_model_that_begins_to_speak_for_the_user_is_stopped(talkative: HostUnderTest) -> None:
    outcome = talkative.run(FRANCE, **GREEDY)
    assert (outcome.text, outcome.finish_reason) == ("The capital of France is Paris.", "stop")
    assert (outcome.token_ids[-1], outcome.stop) == (IM_END, None)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"stop_at_turns": False, "skip_special_tokens": False}, True),
        ({"stop_at_turns": False}, False),
        ({"ignore_eos": True, "skip_special_tokens": False}, True),
    ],
)
def test_turn_markers_are_tokens_like_others_on_demand(
    talkative: HostUnderTest, values: dict[str, Any], shown: bool
) -> None:
    outcome = talkative.run(FRANCE, **GREEDY, **values)
    assert IM_START in outcome.token_ids
    assert ("<|im_end|>\n<|im_start|>" in outcome.text) is shown


def test_a_plain_text_has_no_turns(talkative: HostUnderTest) -> None:
    text = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    assert IM_START in talkative.run(text, **GREEDY).token_ids


# --- what is told about tokens ----------------------------------------------------------------------------


def test_each_token_has_its_logprob_and_bytes(host: HostUnderTest, counted: Outcome) -> None:
    outcome = host.run(COUNT, **GREEDY, logprobs=True)
    assert outcome.token_ids == counted.token_ids
    assert len(outcome.logprobs) == len(outcome.token_bytes) == len(outcome.token_ids)
    assert all(-30 < logprob <= 1e-6 for logprob in outcome.logprobs)
    assert b"".join(outcome.token_bytes).decode() == outcome.text
    assert counted.logprobs == []


def test_the_bytes_of_tokens_are_the_text_to_which_an_end_adds_nothing(host: HostUnderTest) -> None:
    outcome = host.run(FRANCE, **GREEDY, logprobs=True)
    assert b"".join(outcome.token_bytes) == outcome.text.encode()
    assert (len(outcome.token_bytes), outcome.token_bytes[-1]) == (len(outcome.token_ids), b"")


@pytest.mark.parametrize("values", [{}, {"presence_penalty": 0.5}], ids=["by text", "by replay"])
def test_logprobs_of_tokens_that_were_sent_before_are_not_sent_again(
    host: HostUnderTest, values: dict[str, Any]
) -> None:
    whole = host.run(COUNT, **GREEDY, **values, logprobs=True)
    rest = host.run(COUNT, whole.token_ids[:9], **GREEDY, **values, logprobs=True)
    assert rest.token_ids == whole.token_ids[9:]
    assert rest.logprobs == pytest.approx(whole.logprobs[9:], abs=1e-3)
    assert rest.token_bytes == whole.token_bytes[9:]


def test_the_prompt_is_told_as_the_model_sees_it(host: HostUnderTest) -> None:
    outcome = host.run(FRANCE, **GREEDY)
    assert outcome.prompt_tail.endswith("France?<|im_end|>\n<|im_start|>assistant\n")
    assert len(outcome.prompt_tail) == 64
    assert host.text_of(outcome.prompt_token_ids).endswith(outcome.prompt_tail)
    assert host.run(COUNT, **GREEDY).prompt_tail == ""


# --- prompts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", [COUNT, TokenPrompt([7, 8, 9, 504, 11, 12])])
def test_the_last_tokens_of_a_prompt_are_kept(host: HostUnderTest, prompt: Any) -> None:
    whole = host.run(prompt, max_tokens=1).prompt_token_ids
    assert host.run(prompt, max_tokens=1, truncate_prompt=3).prompt_token_ids == whole[-3:]
    assert host.run(prompt, max_tokens=1, truncate_prompt=1000).prompt_token_ids == whole


def test_a_prompt_is_cut_to_what_the_context_holds(host: HostUnderTest) -> None:
    text = "a " * 30_000
    outcome = host.run(TextPrompt(text), max_tokens=8185, truncate_prompt=-1, stop_token_ids=list(range(900)))
    assert outcome.prompt_tokens == 7
    error = host.run(COUNT, truncate_prompt=0).error
    assert (error.code, error.param) == (ErrorCode.INVALID_VALUE, "truncate_prompt_tokens")


def test_an_answer_goes_on_in_the_last_message(host: HostUnderTest) -> None:
    messages = [*FRANCE.messages, ChatMessage("assistant", "The capital of")]
    outcome = host.run(ChatPrompt(messages, continue_final_message=True), **GREEDY)
    assert outcome.prompt_tail.endswith("<|im_start|>assistant\nThe capital of")
    assert outcome.text == " France is Paris."


def test_a_question_about_tokens_is_answered(host: HostUnderTest) -> None:
    answer = host.ask("naïve 🎉")
    assert answer.text == "naïve 🎉"
    assert len(answer.token_ids) == len(answer.token_texts) > 3
    assert "\ufffd" in answer.token_texts[-1]  # a part of the emoji
    assert host.text_of(answer.token_ids) == "naïve 🎉"
    rendered = host.ask(FRANCE)
    assert rendered.text.endswith("<|im_start|>assistant\n")
    assert rendered.token_ids == host.run(FRANCE, **GREEDY).prompt_token_ids
    assert host.ask(host.share(TextPrompt("hello"))).token_ids == host.ask("hello").token_ids
    assert host.ask("").token_ids == []


def test_special_tokens_are_skipped_on_demand(host: HostUnderTest) -> None:
    shown, hidden = host.text_of([IM_START, 504, IM_END]), host.text_of([IM_START, 504, IM_END], True)
    assert shown == f"<|im_start|>{hidden}<|im_end|>"
    assert host.text_of([]) == ""


@pytest.mark.parametrize("asks", ["tokenize", "detokenize"])
def test_a_question_with_ids_outside_the_vocabulary_fails_by_name(host: HostUnderTest, asks: str) -> None:
    if asks == "tokenize":
        question: Work = Tokenize(0, payload_of(TokenPrompt([10**6])))
    else:
        question = Detokenize(0, msgspec.msgpack.encode([10**6]))
    (outcome,) = host.finish(host.send(question))
    assert outcome.error.code is ErrorCode.INVALID_VALUE
    assert outcome.error.param == ("prompt" if asks == "tokenize" else "tokens")


# --- grammars -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, {"min_tokens": 20}, {"ignore_eos": True}, {"logprobs": True}])
def test_a_text_keeps_to_its_grammar_and_ends_with_it(host: HostUnderTest, values: dict[str, Any]) -> None:
    prompt = chat("Weather in Paris? As JSON.")
    outcome = host.run(prompt, temperature=0.0, max_tokens=40, grammar=JSON_CITY, **values)
    assert outcome.finish_reason == "stop"
    assert set(json.loads(outcome.text)) == {"city", "n"}


def test_after_its_reasoning_a_text_keeps_to_its_grammar(host: HostUnderTest) -> None:
    prompt = "<|im_start|>user\nWeather in Paris?<|im_end|>\n<|im_start|>assistant\n<think>\n"
    outcome = host.run(
        prompt,
        temperature=0.0,
        max_tokens=150,
        grammar=grammar(type="regex", pattern="(rain|sun)!"),
        reasoning_markers=["<think>", "."],
    )
    reasoning, _, answer = outcome.text.partition(".")
    assert len(reasoning) > 3
    assert answer.strip() in ("rain!", "sun!")


@pytest.mark.parametrize("values", [{"temperature": 0.0}, {"temperature": 0.9, "seed": 5}])
def test_a_text_under_a_grammar_goes_on_where_its_host_was_lost(
    host: HostUnderTest, values: dict[str, Any]
) -> None:
    asked = {"max_tokens": 40, "grammar": JSON_CITY, **values}
    whole = host.run(FRANCE, **asked)
    for cut in (1, 6, len(whole.token_ids)):
        rest = host.run(FRANCE, whole.token_ids[:cut], **asked)
        assert (rest.error, rest.token_ids) == (None, whole.token_ids[cut:])


@pytest.mark.parametrize(
    "bad",
    [
        grammar(type="json_schema", json_schema={"type": "nonsense"}),
        grammar(type="regex", pattern="(("),
        grammar(type="grammar", grammar="root ::= x"),
        grammar(type="nonsense"),
        "{",
    ],
)
def test_a_grammar_that_does_not_compile_fails_its_request_alone(host: HostUnderTest, bad: str) -> None:
    alone = host.run(COUNT, **GREEDY).text
    neighbour = host.start(COUNT, **GREEDY)
    newcomer, guilty = host.start(COUNT, **GREEDY), host.start(COUNT, **GREEDY, grammar=bad)
    others, refused = host.finish(neighbour, newcomer), host.finish(guilty)[0]
    assert [outcome.text for outcome in others] == [alone, alone]
    assert (refused.error.code, refused.error.param) == (ErrorCode.INVALID_VALUE, "response_format")
    assert "/home" not in refused.error.message


# --- the prefix cache ---------------------------------------------------------------------------------------


def story(tokens: int, seed: int) -> TokenPrompt:
    return TokenPrompt([500 + (seed * 7919 + at * at) % 40_000 for at in range(tokens)])


def test_what_was_found_in_the_kv_cache_is_told(caching: HostUnderTest) -> None:
    first = caching.run(story(300, 1), max_tokens=1)
    again = caching.run(story(300, 1), **GREEDY)  # the last token of a prompt is always computed
    longer = caching.run(TokenPrompt(story(300, 1).token_ids + [9] * 50), **GREEDY)
    assert (first.cached_tokens, again.cached_tokens, longer.cached_tokens) == (0, 299, 288)


@pytest.fixture(scope="module")
def caching(qwen3_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(launch_of(qwen3_ir)) as running:
        yield running


@pytest.fixture(scope="module")
def uncached(qwen3_ir: Path) -> Iterator[HostUnderTest]:
    with host_running(launch_of(qwen3_ir, prefix_caching=False)) as running:
        yield running


def until_a_tie(found: Outcome, token_ids: list[int], logprobs: list[float]) -> int:
    """How many tokens are to be compared: all, or those before two that are equally likely, between which
    the CPU's rounding decides. Fails where any other token differs."""
    pairs = zip(found.token_ids, token_ids, strict=False)
    first = next((at for at, (one, other) in enumerate(pairs) if one != other), None)
    if first is None:
        assert found.token_ids == token_ids
        return len(token_ids)
    assert found.logprobs[first] == pytest.approx(logprobs[first], abs=1e-5)
    return first


def same(one: Outcome, other: Outcome) -> bool:
    return one.token_ids == other.token_ids and one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_prompt_left_half_way_does_no_harm_to_the_next(
    caching: HostUnderTest, uncached: HostUnderTest, steps: int
) -> None:
    values = GREEDY | {"logprobs": True}
    company = caching.start(COUNT, **ENDLESS)
    tokens = caching.outcomes[company].token_ids
    caching.wait(lambda: len(tokens) > 2)
    left = caching.start(story(2_000, 10 + steps), **values)
    caching.wait(lambda: caching.outcomes[left].prompt_tokens is not None)
    seen = len(tokens)
    caching.wait(lambda: len(tokens) >= seen + steps)
    caching.cancel(left)
    outcome = caching.run(story(2_000, 10 + steps), **values)
    caching.cancel(company)
    assert same(outcome, uncached.run(story(2_000, 10 + steps), **values))


def test_prompts_that_part_inside_a_cached_block_do_not_mix(
    caching: HostUnderTest, uncached: HostUnderTest
) -> None:
    values = GREEDY | {"logprobs": True}
    begin = story(110, 20).token_ids
    caching.run(TokenPrompt(begin), max_tokens=1)
    prompts = [TokenPrompt(begin + story(60, seed).token_ids) for seed in (21, 22, 23)]
    outcomes = caching.finish(*(caching.start(prompt, **values) for prompt in prompts))
    for prompt, outcome in zip(prompts, outcomes, strict=True):
        assert same(outcome, uncached.run(prompt, **values))


def test_requests_that_were_taken_out_of_a_host_go_on_exactly(
    caching: HostUnderTest, uncached: HostUnderTest
) -> None:
    """As when a host is emptied to try one request alone, in the midst of many that have just come."""
    values = GREEDY | {"logprobs": True}
    prompts = [story(70, seed) for seed in range(30, 38)]
    wholes = uncached.finish(*(uncached.start(prompt, **values) for prompt in prompts))
    resumed = [(prompt, whole.token_ids[:9]) for prompt, whole in zip(prompts, wholes, strict=True)]
    taken_out = [caching.start(*request, **values) for request in resumed]
    caching.wait(lambda: any(caching.outcomes[request].token_ids for request in taken_out))
    for request in taken_out:
        caching.cancel(request)
    rests = caching.finish(*(caching.start(*request, **values) for request in resumed))
    for whole, rest in zip(wholes, rests, strict=True):
        equal = until_a_tie(rest, whole.token_ids[9:], whole.logprobs[9:])
        assert rest.logprobs[:equal] == pytest.approx(whole.logprobs[9 : 9 + equal], abs=1e-3)
