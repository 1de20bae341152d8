"""Log probabilities of a chat are those of its content, however the text is cut."""

import pytest

from frontend.api.content_tokens import ContentTokens, Scored
from frontend.api.schema.tools import FunctionTool
from frontend.parsing import detect, parser_for
from frontend.parsing.events import Content

QWEN = "<tool_call></tool_call><think></think>"
EMOJI = "😀".encode()


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
