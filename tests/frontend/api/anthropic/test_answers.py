"""A turn's events as content blocks: whole, and as the events of a stream."""

import asyncio
import json
from typing import Any

import msgspec
import pytest

from frontend.api.anthropic.answers import MessageEvents, stop_of, usage_of, whole
from frontend.api.anthropic.thinking import thought_of
from frontend.api.schema.messages import MessageAnswer
from frontend.api.turns import Finished, StartedOver, TurnUsage
from frontend.http.keep_alive import PING
from frontend.parsing.events import CallArguments, CallBegun, Content, Reasoning
from tests.frontend.api.known_turn import KnownTurn

USAGE = TurnUsage(10, 5, 4, 2)
END = Finished("stop")
CALL = (CallBegun(0, "f"), CallArguments(0, '{"x":'), CallArguments(0, "1}"))
F = {"type": "tool_use", "id": "call_0", "name": "f", "input": {"x": 1}}


class Turn(KnownTurn):
    usage = USAGE


def message() -> MessageAnswer:
    return MessageAnswer(id="msg_1", model="m", content=[], usage=usage_of(TurnUsage(10, 0)))


def answer_of(*events, omits=False, max_tokens=5) -> Any:
    turn: Any = Turn(*events)
    answer = asyncio.run(whole(message(), turn, max_tokens, omits_thinking=omits))
    assert turn.closed
    return msgspec.json.decode(msgspec.json.encode(answer))


def stream_of(*events, omits=False) -> list[dict[str, Any]]:
    """The events of a stream, each of which is named by its type."""
    turn: Any = Turn()
    encoder = MessageEvents(message(), turn, 5, omits_thinking=omits)
    data = encoder.opening + b"".join(encoder.encode([(0, event)]) for event in events) + encoder.ending()
    frames = data.decode().removesuffix("\n\n").split("\n\n")
    named = [frame.removeprefix("event: ").split("\ndata: ") for frame in frames]
    found = [json.loads(body) for _, body in named]
    assert [name for name, _ in named] == [body["type"] for body in found]
    return found


def folded(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The content of a message from its events, whose order is checked."""
    kinds = [event["type"] for event in events]
    assert kinds[:2] == ["message_start", "ping"]
    assert kinds[-2:] == ["message_delta", "message_stop"]
    content: list[dict[str, Any]] = []
    opened = None
    for event in events[2:-2]:
        match event["type"]:
            case "content_block_start":
                assert opened is None and event["index"] == len(content)
                opened = event["index"]
                content.append({**event["content_block"], "json": ""})
            case "content_block_delta":
                assert event["index"] == opened
                delta = event["delta"]
                field = {"signature_delta": "signature", "input_json_delta": "json"}.get(
                    delta["type"], delta["type"].removesuffix("_delta")
                )
                content[-1][field] += delta.get("partial_json") or delta.get(field, "")
            case "content_block_stop":
                assert event["index"] == opened
                opened = None
    assert opened is None
    for block in content:
        if (arguments := block.pop("json")) or block["type"] == "tool_use":
            block["input"] = json.loads(arguments or "{}")
    return content


@pytest.mark.parametrize(
    ("events", "content"),
    [
        ([], []),
        ([Content("It is "), Content("warm.")], [{"type": "text", "text": "It is warm."}]),
        ([Content(" B"), Content(")")], [{"type": "text", "text": " B)"}]),
        ([Content("\n"), Content(" \n"), Content("a")], [{"type": "text", "text": "\n \na"}]),
        ([Content("\n")], [{"type": "text", "text": "\n"}]),
        ([*CALL], [F]),
        ([CallBegun(0, "f")], [{**F, "input": {}}]),
        ([Content("\n\n"), *CALL, Content("\n")], [F]),
        (
            [Content("I look."), *CALL, Content("\nThen"), CallBegun(1, "g"), CallArguments(1, "{}")],
            [
                {"type": "text", "text": "I look."},
                F,
                {"type": "text", "text": "\nThen"},
                {"type": "tool_use", "id": "call_1", "name": "g", "input": {}},
            ],
        ),
        (
            [Reasoning("\n"), Reasoning("Hm"), Reasoning("."), Content("\n\n"), Content("a")],
            [
                {"type": "thinking", "thinking": "\nHm.", "signature": "nacelle"},
                {"type": "text", "text": "\n\na"},
            ],
        ),
        ([Reasoning("\n\n"), Content("a")], [{"type": "text", "text": "a"}]),
    ],
)
def test_blocks_are_the_same_whole_and_streamed(events, content):
    assert answer_of(*events, END)["content"] == content
    assert folded(stream_of(*events, END)) == content


def test_an_omitted_thought_is_in_its_signature_alone():
    events = [Reasoning("Hm"), Reasoning(", é."), Content("a"), END]
    for content in (answer_of(*events, omits=True)["content"], folded(stream_of(*events, omits=True))):
        thought, text = content
        assert thought["thinking"] == ""
        assert thought_of("", thought["signature"]) == "Hm, é."
        assert text == {"type": "text", "text": "a"}


def test_the_whole_message():
    assert answer_of(Content("Hi"), END) == {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Hi"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 6,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 4,
            "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 2},
        },
    }


def test_a_stream_begins_with_an_empty_message_and_ends_with_its_stop_and_usage():
    events = stream_of(Content("Hi"), Finished("stop", "END"))
    begun = events[0]["message"]
    assert (begun["content"], begun["stop_reason"], begun["usage"]["output_tokens"]) == ([], None, 0)
    assert begun["usage"]["input_tokens"] == 10
    ended = events[-2]
    assert ended["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    assert ended["usage"] == answer_of(END)["usage"]


@pytest.mark.parametrize(
    ("finished", "max_tokens", "expected"),
    [
        (Finished("stop"), 9, ("end_turn", None)),
        (Finished("stop", "END"), 9, ("stop_sequence", "END")),
        (Finished("stop", 7), 9, ("end_turn", None)),
        (Finished("tool_calls"), 9, ("tool_use", None)),
        (Finished("tool_calls", "END"), 9, ("tool_use", None)),
        (Finished("length"), 5, ("max_tokens", None)),
        (Finished("length"), 9, ("model_context_window_exceeded", None)),
    ],
)
def test_why_an_answer_ended(finished, max_tokens, expected):
    stop = stop_of(finished, 5, max_tokens)
    assert (stop.stop_reason, stop.stop_sequence) == expected


def test_a_call_that_was_cut_is_left_out_of_a_whole_message():
    events = [Content("a"), CallBegun(0, "f"), CallArguments(0, '{"x":'), Finished("length")]
    answer = answer_of(*events)
    assert (answer["content"], answer["stop_reason"]) == ([{"type": "text", "text": "a"}], "max_tokens")
    before_its_input = answer_of(Content("a"), CallBegun(0, "f"), Finished("length"))
    assert before_its_input["content"] == [{"type": "text", "text": "a"}]


def test_an_answer_that_is_started_over_holds_nothing_of_the_first_attempt():
    answer = answer_of(Reasoning("Hm"), Content("a"), *CALL, StartedOver(), Content("b"), END)
    assert answer["content"] == [{"type": "text", "text": "b"}]


def test_a_ping_is_an_event():
    assert PING == b'event: ping\ndata: {"type":"ping"}\n\n'
