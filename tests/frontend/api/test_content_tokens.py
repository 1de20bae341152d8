"""Log probabilities of a chat are those of its content, however the text is cut."""

from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from frontend.api.content_tokens import ContentTokens, Scored
from frontend.api.prompting import AnswerPlan
from frontend.api.schema.tools import FunctionTool
from frontend.api.turns import Finished, Tokens, Turn
from frontend.parsing import detect, parser_for
from frontend.parsing.events import Content
from frontend.tasks.text import Output
from ipc.messages import Sampling

QWEN = "<tool_call></tool_call><think></think>"
EMOJI = "😀".encode()


CALL = b'<tool_call>{"name": "f", "arguments": {}}</tool_call>'


def cuts_of(text: bytes, number: int) -> list[bytes]:
    """The text in pieces, each number other ones."""
    random = Random(number)
    cuts = sorted(random.sample(range(1, len(text)), random.randint(1, 12)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def answered(tokens: Sequence[bytes], stop: str) -> tuple[bytes, str]:
    """The bytes of a turn's tokens, and its content, which ends at a stop string or after the tokens."""
    sampling = Sampling(stop=[stop], logprobs=True)
    plan = AnswerPlan(
        dialect=detect(QWEN), tools=[FunctionTool(name="f")], calls_are_certain=False, grammar=""
    )
    texts = [b"".join(tokens[:number]).decode(errors="ignore") for number in range(len(tokens) + 1)]
    outputs = [
        Output(0, after[len(before) :], None, False, [0], [-1.0], [token])
        for before, after, token in zip(texts, texts[1:], tokens, strict=False)
    ]
    outputs.append(Output(0, "", "stop"))
    generation: Any = SimpleNamespace(
        sequences=[SimpleNamespace(journal=SimpleNamespace(prompt_tail="", prompt_token_ids=[]))],
        take=lambda: [outputs.pop(0)] if outputs else [],
        end=lambda choice, tokens: None,
    )
    turn = Turn(generation, plan, [sampling], True)
    events = []
    while found := turn.take():
        events += [event for _, event in found]
    assert isinstance(events[-1], Finished)
    data = [data for event in events if isinstance(event, Tokens) for data in event.token_bytes]
    return b"".join(data), "".join(event.text for event in events if isinstance(event, Content))


def content_tokens(*pieces: bytes, held: int = 0) -> tuple[list[Scored], str]:
    """Of an answer that comes token by token; `held` characters are shown late, as before a stop string."""
    parser = parser_for(detect(QWEN), tools=[FunctionTool(name="f")], prompt_tail="", eager=False)
    assert parser is not None
    tokens = ContentTokens(parser.trace_content())
    told: list[Scored] = []
    content, shown = "", 0
    for number, piece in enumerate(pieces):
        is_last = number == len(pieces) - 1
        tokens.add([-float(number)], [piece])
        text = b"".join(pieces[: number + 1]).decode(errors="ignore")
        text = text[len(b"".join(pieces[:number]).decode(errors="ignore")) :]
        events = parser.feed(text) + (parser.finish() if is_last else [])
        content += "".join(event.text for event in events if isinstance(event, Content))
        visible = len(content) if is_last else max(shown, len(content) - held)
        told += tokens.take(visible - shown, ended=is_last)
        shown = visible
    return told, content


@pytest.mark.parametrize("held", [0, 3])
def test_reasoning_markup_and_ends_have_no_entries(held: int) -> None:
    call = b'<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    told, content = content_tokens(
        b"<think>",
        b"Hm",
        b"m.",
        b"</think>",
        b"\n\n",
        b"Hi",
        EMOJI[:2],
        EMOJI[2:],
        b"!",
        call,
        b"",
        held=held,
    )
    assert content == "Hi😀!"
    assert told == [(-5.0, b"Hi"), (-6.0, EMOJI[:2]), (-7.0, EMOJI[2:]), (-8.0, b"!")]


def test_the_bytes_are_those_of_the_content_alone() -> None:
    told, content = content_tokens(b"<think>a</think>Hi", b" there", b"")
    assert b"".join(data for _, data in told).decode() == content == "Hi there"


def test_what_only_looked_like_a_call_has_its_entries() -> None:
    told, content = content_tokens(b"a <", b"tool", b"_box> b", b"")
    assert b"".join(data for _, data in told).decode() == content == "a <tool_box> b"


@pytest.mark.parametrize("held", [0, 1])
def test_what_the_parser_puts_between_two_texts_belongs_to_no_token(held: int) -> None:
    call = b'<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    told, content = content_tokens(b"One", call, b"two", b" three", b"", held=held)
    assert content == "One\ntwo three"
    assert told == [(0.0, b"One"), (-2.0, b"two"), (-3.0, b" three")]


def test_a_text_that_was_given_back_keeps_its_place() -> None:
    told, content = content_tokens(b"<think>a</think>x <tool_call>\n\n", b"\n[] b", b" c", b"")
    assert b"".join(data for _, data in told).decode() == content


def test_without_a_parser_all_that_is_shown_is_content() -> None:
    tokens = ContentTokens(None)
    tokens.add([-1.0, -2.0, -3.0], [b"ab", b"cd", b""])
    assert tokens.take(3, ended=True) == [(-1.0, b"ab"), (-2.0, b"c")]


@pytest.mark.parametrize("before", [b"", b"<think>a</think>", b"<think>\na\n</think>\n\n"])
def test_however_a_text_is_cut_the_tokens_are_its_content(before: bytes) -> None:
    text = before + b"\n\nLet me look.\n" + CALL + b"\n\nAnd " + EMOJI + b"then\n\n\n" + CALL + b" x" + CALL
    for number in range(150):
        told, content = content_tokens(*cuts_of(text, number), b"", held=number % 5)
        assert content.endswith("Let me look.\n\nAnd 😀then\n\n\n x")
        assert b"".join(data for _, data in told).decode() == content


def test_several_parts_of_one_token_are_all_there() -> None:
    told, content = content_tokens(b"One\n" + CALL + b"two", b"")
    assert (told, content) == ([(0.0, b"One\ntwo")], "One\ntwo")


@pytest.mark.parametrize(
    ("stop", "content"),
    [
        ("STOP", "Hello 😀 there. "),
        ("😀", "Hello "),
        ("there", "Hello 😀 "),
        ("never", "Hello 😀 there. STOP x"),
    ],
)
def test_the_token_in_which_a_stop_string_begins_is_cut(stop: str, content: str) -> None:
    text = b"<think>a</think>\n\nHello " + EMOJI + b" there. STOP x"
    for number in range(150):
        assert answered(cuts_of(text, number), stop) == (content.encode(), content)


def test_bytes_that_are_no_text_are_told_as_they_are() -> None:
    tokens = ContentTokens(None)
    tokens.add([-1.0, -2.0, -3.0], [b"a\xf0\x9f", b"b\xff", b"c\xe2"])
    assert tokens.take(4, ended=False) == [(-1.0, b"a\xf0\x9f"), (-2.0, b"b\xff")]
    assert tokens.take(2, ended=True) == [(-3.0, b"c\xe2")]
