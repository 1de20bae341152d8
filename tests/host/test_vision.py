"""The vision engine in exact arithmetic, on a stand-in: SmolLM2 that is told the colours it sees."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ipc.errors import ErrorCode, RequestError
from ipc.messages import (
    Accepted,
    ChatMessage,
    ChatPrompt,
    Failed,
    MediaPart,
    Ready,
    TextPart,
    TextPrompt,
    TokenPrompt,
    ToolCall,
)
from tests.host.harness import HostUnderTest, Outcome, chat, host_running, launch_of
from tests.models.vision import COLOURS, IMAGE_TOKENS

GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": 8}
ENDLESS: dict[str, Any] = {"temperature": 0.0, "max_tokens": 300, "ignore_eos": True}
NAME_IT = "Name the color."
FRANCE = chat("What is the capital of France?")
KV_TOKENS = 384
BLOCK_BYTES = 30 * 3 * 64 * 32 * 2 * 4  # layers, KV heads, head dim, tokens, keys and values, f32


@pytest.fixture(scope="module")
def host(vision_ir: Path) -> Iterator[HostUnderTest]:
    launch = launch_of(vision_ir, engine="vision", kv_cache_bytes=KV_TOKENS // 32 * BLOCK_BYTES)
    with host_running(launch) as running:
        yield running


def picture(
    colour: str | tuple[int, int, int], size: tuple[int, int] = (100, 80), note: str = ""
) -> MediaPart:
    """A PNG file of one colour, perhaps with a text in its metadata."""
    info = PngImagePlugin.PngInfo()
    if note:
        info.add_text("Comment", note)
    file = io.BytesIO()
    rgb = COLOURS[colour] if isinstance(colour, str) else colour
    Image.new("RGB", size, rgb).save(file, "PNG", pnginfo=info)
    return MediaPart("image/png", file.getvalue())


def ask(*parts: MediaPart | str) -> ChatPrompt:
    """One message of the user."""
    return ChatPrompt([ChatMessage("user", [TextPart(p) if isinstance(p, str) else p for p in parts])])


def refusal(host: HostUnderTest, prompt: Any, **sampling: Any) -> RequestError:
    error = host.run(prompt, **sampling).error
    assert isinstance(error, RequestError)
    return error


def first_logprob(host: HostUnderTest, prompt: ChatPrompt) -> float:
    """How likely the first token is, a number that follows from all of the prompt."""
    (value,) = host.run(prompt, temperature=0.0, max_tokens=1, logprobs=True).logprobs
    return value


def assert_healthy(host: HostUnderTest) -> None:
    assert "red" in host.run(ask(picture("red"), NAME_IT), **GREEDY).text.lower()
    assert host.process.poll() is None


def test_the_card_says_that_the_model_takes_images(host: HostUnderTest) -> None:
    assert host.first(Ready).card.takes_images


def test_answers_follow_the_image_alone_and_in_a_batch_with_text(host: HostUnderTest) -> None:
    colours = ["red", "green", "blue", "black"]
    alone = {name: host.run(ask(picture(name), NAME_IT), **GREEDY).text for name in colours}
    assert all(name in text.lower() for name, text in alone.items()), alone
    capital = host.run(FRANCE, **GREEDY).text
    requests = [host.start(ask(picture(name), NAME_IT), **GREEDY) for name in colours]
    text_only = host.start(FRANCE, **GREEDY)
    batched = [outcome.text for outcome in host.finish(*requests, text_only)]
    assert batched == [*alone.values(), capital]
    assert "Paris" in capital


def test_the_size_of_an_image_does_not_change_what_is_seen(host: HostUnderTest) -> None:
    small, large = (
        host.run(ask(picture("blue", size), NAME_IT), **GREEDY).text for size in ((1, 1), (1200, 700))
    )
    assert small == large and "blue" in small


def test_image_tokens_count(host: HostUnderTest) -> None:
    without = host.run(ask(NAME_IT), **GREEDY).prompt_tokens
    assert without is not None
    one = host.run(ask(picture("red"), NAME_IT), **GREEDY)
    newline = 1  # that the engine adds behind an image
    assert one.prompt_tokens == without + IMAGE_TOKENS + newline
    two = host.run(ask(picture("red"), picture("blue"), NAME_IT), **GREEDY)
    assert two.prompt_tokens == without + 2 * (IMAGE_TOKENS + newline)
    stopped = host.run(ask(picture("red"), NAME_IT), stop=["top"], **GREEDY)
    assert (stopped.stop, stopped.prompt_tokens) == ("top", one.prompt_tokens)


def test_text_and_images_keep_their_order(host: HostUnderTest) -> None:
    prompt = ask("First:", picture("red"), "then:", picture("blue"), picture("green"), "Done.", "Really.")
    text = host.ask(prompt).text
    assert (
        "user\nFirst:<ov_genai_image_0>then:<ov_genai_image_1><ov_genai_image_2>Done.\nReally.<|im_end|>"
        in text
    )
    swapped = ask("First:", picture("blue"), "then:", picture("red"), picture("green"), "Done.", "Really.")
    assert first_logprob(host, prompt) != first_logprob(host, swapped)


def test_a_tools_result_may_hold_an_image(host: HostUnderTest) -> None:
    def conversation(colour: str) -> ChatPrompt:
        return ChatPrompt(
            [
                ChatMessage("user", "Take a picture and name its color."),
                ChatMessage("assistant", "", tool_calls=[ToolCall("c1", "camera", "{}")]),
                ChatMessage("tool", [TextPart("Here:"), picture(colour)], tool_call_id="c1"),
            ]
        )

    red, blue, again = (first_logprob(host, conversation(colour)) for colour in ("red", "blue", "red"))
    assert red == again != blue


@pytest.mark.parametrize(
    "tag",
    ["<image>", "<ov_genai_image_0>", "<ov_genai_image_7>", "<|image_pad|>", "<|vision_start|>", "<image>\n"],
)
def test_tags_that_a_user_types_stay_text(host: HostUnderTest, tag: str) -> None:
    question = f"What does {tag} mean in HTML? Name the color."
    with_image = host.run(ask(picture("green"), question), **GREEDY)
    assert with_image.error is None
    without = host.run(ask(question), **GREEDY)
    assert without.error is None
    assert with_image.prompt_tokens == (without.prompt_tokens or 0) + IMAGE_TOKENS + 1
    assert host.ask(ask(question)).text.replace("\u200b", "").count(tag) == 1
    assert host.run(TextPrompt(f"{tag} is"), **GREEDY).error is None


def test_everything_that_shapes_a_text_works_with_images(host: HostUnderTest) -> None:
    prompt = ask(picture("blue"), NAME_IT)
    choice = json.dumps({"type": "regex", "pattern": "(red|green|blue)!"})
    assert host.run(prompt, grammar=choice, **GREEDY).text == "blue!"
    seeded = [host.run(prompt, seed=5, temperature=1.5, max_tokens=6).token_ids for _ in range(2)]
    assert seeded[0] == seeded[1]
    scored = host.run(prompt, logprobs=True, **GREEDY)
    assert len(scored.logprobs) == len(scored.token_bytes) == len(scored.token_ids)


# --- going on after another host was lost -------------------------------------------------------------


def assert_goes_on(
    host: HostUnderTest, prompt: Any, whole: Outcome, last: int | None = None, **values: Any
) -> None:
    """From several of its tokens, all in one batch. `last` cuts their list short."""
    length = len(whole.token_ids)
    cuts = [1, 2, length // 2, length - 1, length][:last]
    rests = host.finish(*(host.start(prompt, whole.token_ids[:cut], **values) for cut in cuts))
    for cut, rest in zip(cuts, rests, strict=True):
        assert rest.error is None
        assert rest.token_ids == whole.token_ids[cut:]
        assert rest.text == whole.text[whole.shown[cut - 1] :]
        if rest.token_ids:
            assert rest.prompt_tokens == whole.prompt_tokens


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": 0.0, "max_tokens": 10},  # generated again and compared
        {"temperature": 1.0, "top_k": 1, "max_tokens": 10},  # continued from its text
        {"temperature": 1.0, "seed": 3, "max_tokens": 10},
        {"temperature": 0.0, "max_tokens": 10, "presence_penalty": 1.0},
    ],
    ids=["greedy", "by_text", "seeded", "penalties"],
)
def test_an_answer_goes_on_as_if_uninterrupted(host: HostUnderTest, values: dict[str, Any]) -> None:
    prompt = ask(picture("purple"), "Describe this picture in two sentences.")
    whole = host.run(prompt, ignore_eos=True, **values)
    assert len(whole.token_ids) == 10
    assert_goes_on(host, prompt, whole, ignore_eos=True, **values)


def test_texts_without_images_go_on_too(host: HostUnderTest) -> None:
    prompt = chat("Answer with many emoji: what is a party? \U0001f389")
    whole = host.run(prompt, **GREEDY)
    assert_goes_on(host, prompt, whole, -1, **GREEDY)  # the last one ends within a character


def test_what_cannot_be_generated_again_is_continued_from_its_text(host: HostUnderTest) -> None:
    prompt = ask(picture("red"), NAME_IT)
    begun = host.run(ask(picture("blue"), NAME_IT), **GREEDY)  # not what the model says of red
    rest = host.run(prompt, begun.token_ids[:4], **GREEDY)
    assert rest.error is None
    assert len(rest.token_ids) == GREEDY["max_tokens"] - 4 or rest.finish_reason == "stop"


# --- refusals, faults, cancellation -------------------------------------------------------------------


def test_bad_images_are_refused_by_their_place_and_harm_nobody(host: HostUnderTest) -> None:
    neighbour = host.start(FRANCE, **GREEDY)
    noise = np.random.default_rng(0).bytes(5000)
    bad = MediaPart("image/png", noise)
    cut = MediaPart("image/png", picture("red", (300, 300)).payload[:-60])
    for part, words in (
        (bad, "or not a PNG"),
        (cut, "damaged or incomplete"),
        (MediaPart("a/b", b""), "empty"),
    ):
        error = refusal(host, ask(picture("red"), part, NAME_IT), **GREEDY)
        assert (error.code, error.param) == (ErrorCode.INVALID_VALUE, "messages")
        assert error.message.startswith("image 2 ") and words in error.message
    assert "Paris" in host.finish(neighbour)[0].text
    assert_healthy(host)


def test_a_prompt_that_is_too_long_because_of_its_images_is_refused(host: HostUnderTest) -> None:
    text = "word " * (KV_TOKENS - 100)
    assert host.run(ask(text), max_tokens=1).error is None
    request = host.start(ask(*[picture("red")] * 8, text), max_tokens=1)
    (outcome,) = host.finish(request)
    assert (outcome.error.code, outcome.error.param) == (ErrorCode.KV_CACHE_EXCEEDED, "messages")
    accepted = [m for m in host.received if isinstance(m, Accepted | Failed) and m.request_id == request]
    assert [type(message) for message in accepted] == [
        Failed
    ]  # so that the client gets a status, not a stream
    assert_healthy(host)


def test_an_answer_without_a_limit_ends_with_the_kv_cache(host: HostUnderTest) -> None:
    """The room that is left depends on tokens that the pipeline alone can count."""
    filled = ask(picture("red"), "word " * (KV_TOKENS - 120))
    outcome = host.run(filled, temperature=0.0, ignore_eos=True)
    assert outcome.error is None and outcome.finish_reason == "length"
    assert outcome.prompt_tokens is not None
    assert outcome.prompt_tokens + len(outcome.token_ids) == KV_TOKENS
    room = len(outcome.token_ids)
    assert len(host.run(filled, temperature=0.0, ignore_eos=True, max_tokens=room).token_ids) == room
    beyond = host.run(filled, temperature=0.0, ignore_eos=True, max_tokens=room + 1)
    assert (len(beyond.token_ids), beyond.finish_reason) == (room, "length")
    overlong = ask(picture("red"), "word " * KV_TOKENS)
    assert refusal(host, overlong, max_tokens=1).param == "messages"


def test_more_requests_than_the_kv_cache_holds_are_all_answered(host: HostUnderTest) -> None:
    prompts = [ask(picture(name), "word " * 60 + NAME_IT) for name in [*COLOURS][:6]]
    alone = [host.run(prompt, **GREEDY).token_ids for prompt in prompts[:2]]
    together = host.finish(*(host.start(prompt, **GREEDY) for prompt in prompts))
    assert all(outcome.error is None for outcome in together)
    assert [outcome.token_ids for outcome in together[:2]] == alone


def test_a_cancelled_request_leaves_the_engine(host: HostUnderTest) -> None:
    request = host.start(ask(picture("red"), NAME_IT), **ENDLESS)
    host.wait(lambda: len(host.outcomes[request].token_ids) > 3)
    host.cancel(request)
    waiting = host.start(ask(picture("red"), NAME_IT), **ENDLESS)
    host.cancel(waiting)  # before it is accepted
    host.wait(lambda: host.gauges is not None and host.gauges.running == host.gauges.waiting == 0)
    assert not host.outcomes[request].ended and not host.outcomes[waiting].token_ids
    assert_healthy(host)


def test_a_failing_request_does_not_harm_others(host: HostUnderTest) -> None:
    alone = host.run(ask(picture("blue"), NAME_IT), **GREEDY).text
    good = host.start(ask(picture("blue"), NAME_IT), **GREEDY)
    guilty = host.start(ask(picture("green", note="[[fault:raise]]"), NAME_IT), **GREEDY)
    text = host.start(FRANCE, **GREEDY)
    outcomes = host.finish(good, guilty, text)
    assert outcomes[1].error.code is ErrorCode.ENGINE_FAILED
    assert outcomes[0].text == alone and "Paris" in outcomes[2].text


def test_token_ids_are_taken_if_they_are_those_of_their_text(host: HostUnderTest) -> None:
    ids = host.ask("The capital of France is").token_ids
    assert host.run(TokenPrompt(ids), **GREEDY).text == host.run("The capital of France is", **GREEDY).text
    error = refusal(
        host, TokenPrompt([50, 51, 52]), **GREEDY
    )  # one letter each, which are one token together
    assert (error.code, error.param) == (ErrorCode.INVALID_VALUE, "prompt")


def test_an_image_may_carry_a_fault_that_ends_its_host(host: HostUnderTest) -> None:
    """The last test of the module, because the host is gone after it."""
    host.start(ask(picture("red", note="[[fault:exit@2]]"), NAME_IT), **GREEDY)
    assert host.wait_exit() == 0
