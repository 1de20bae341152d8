"""A turn's events as lines, and as one object."""

import asyncio
import json
from functools import partial
from typing import Any, cast

import msgspec
import pytest

from frontend.api.ollama.answers import Answer, Lines, call_of, chat_reply, generate_reply, whole
from frontend.api.ollama.durations import Watch, timestamp
from frontend.api.turns import Finished, Tokens, TurnUsage
from frontend.parsing.events import CallArguments, CallBegun, Content, Reasoning
from frontend.tasks.generation import Timing
from tests.frontend.api.known_turn import KnownTurn

STATISTICS = {
    "total_duration": 4_000_000_000,
    "load_duration": 1_000_000_000,
    "prompt_eval_count": 7,
    "prompt_eval_duration": 500_000_000,
    "eval_count": 3,
    "eval_duration": 1_500_000_000,
}


class Turn(KnownTurn):
    timing = Timing(queued_at=11.0, first_token_at=11.5)


class Clock:
    now = 10.0

    def __call__(self):
        return self.now


def answer(*events, form=chat_reply) -> Any:
    clock = Clock()
    watch = Watch(1.0, clock)
    clock.now = 11.0
    watch.loaded(None)
    clock.now = 13.0
    return Answer(cast(Any, Turn(*events)), watch, partial(form, "m:latest"))


def lines(*events, form=chat_reply, at_once=False):
    """The objects of a stream, without their times."""
    given = answer(*events, form=form)
    encoder = Lines(given)
    pairs = [(0, event) for event in events]
    parts = [pairs] if at_once else [[pair] for pair in pairs]
    data = b"".join([*(encoder.encode(part) for part in parts), encoder.ending()])
    assert data.endswith(b"\n")
    objects = [json.loads(line) for line in data.splitlines()]
    assert all(each.pop("created_at").endswith("Z") for each in objects)
    assert {each.pop("model") for each in objects} == {"m:latest"}
    return objects


def said(**fields):
    return {"message": {"role": "assistant", "content": "", **fields}, "done": False}


def called(index, name, **arguments):
    return {"id": f"call_{index}", "function": {"index": index, "name": name, "arguments": arguments}}


def ended(reason="stop"):
    return {**said(), "done": True, "done_reason": reason, **STATISTICS}


@pytest.mark.parametrize("at_once", [False, True])
def test_a_line_per_piece_and_one_at_the_end(at_once):
    events = Content('He said "hi"\n'), Content("\u2028ü"), Finished("length")
    assert lines(*events, at_once=at_once) == [
        said(content='He said "hi"\n'),
        said(content="\u2028ü"),
        ended("length"),
    ]


def test_reasoning_has_a_field_of_its_own():
    assert lines(Reasoning("Hm."), Content("Yes."), Finished("stop")) == [
        said(thinking="Hm."),
        said(content="Yes."),
        ended(),
    ]


def test_calls_are_whole_and_their_arguments_objects():
    events = [
        CallBegun(0, "f"),
        CallArguments(0, '{"a": [1.50,'),
        CallArguments(0, " 2]}"),
        CallBegun(1, "g"),
        CallArguments(1, "{}"),
        Content("Wait."),
        Finished("tool_calls"),
    ]
    assert lines(*events) == [
        said(tool_calls=[called(0, "f", a=[1.5, 2])]),
        said(tool_calls=[called(1, "g")]),
        said(content="Wait."),
        ended(),
    ]
    assert lines(*events[:5], events[-1])[:2] == lines(*events)[:2]


def test_a_call_that_was_cut_is_left_out():
    assert lines(CallBegun(0, "f"), CallArguments(0, '{"a": '), Finished("length")) == [ended("length")]
    assert call_of("id", 0, "f", "[1]") is None


def test_generate_has_other_fields():
    assert lines(Reasoning("Hm."), Content("Yes."), Finished("stop"), form=generate_reply) == [
        {"response": "", "thinking": "Hm.", "done": False},
        {"response": "Yes.", "done": False},
        {"response": "", "done": True, "done_reason": "stop", **STATISTICS},
    ]


def test_log_probabilities_go_with_the_next_text():
    events = (
        Tokens([5], [-0.5], [b"Ye"]),
        Tokens([6], [-0.25], [b"s"]),
        Content("Yes"),
        Content("."),
        Finished("stop"),
    )
    first, second, _ = lines(*events)
    assert first["message"]["content"] == "Yes"
    assert first["logprobs"] == [
        {"token": "Ye", "logprob": -0.5, "bytes": [89, 101]},
        {"token": "s", "logprob": -0.25, "bytes": [115]},
    ]
    assert "logprobs" not in second


@pytest.mark.parametrize("form", [chat_reply, generate_reply])
def test_the_whole_answer_is_the_sum_of_its_lines(form):
    events = [
        Reasoning("H"),
        Reasoning("m"),
        Content("Y"),
        Content("es"),
        CallBegun(0, "f"),
        CallArguments(0, '{"a":1}'),
        Finished("tool_calls"),
    ]
    given = answer(*events, form=form)
    body = json.loads(msgspec.json.encode(asyncio.run(whole(given))))
    assert given.turn.closed
    text = body["message"] if form is chat_reply else body
    assert text["content" if form is chat_reply else "response"] == "Yes"
    assert text["thinking"] == "Hm"
    assert text["tool_calls"] == [called(0, "f", a=1)]
    assert {name: body[name] for name in STATISTICS} == STATISTICS
    assert (body["done"], body["done_reason"]) == (True, "stop")


def test_times_are_in_utc():
    assert timestamp(0.5) == "1970-01-01T00:00:00.500000Z"


def test_a_request_is_charged_for_the_load_that_it_waited_for_alone():
    clock = Clock()
    watch = Watch(0.0, clock)  # at 10.0
    clock.now = 13.0
    watch.loaded(60.0)
    statistics = watch.statistics(TurnUsage(7, 3), Timing(queued_at=10.0, first_token_at=14.0))
    assert (statistics.load_duration, statistics.prompt_eval_duration) == (3 * 10**9, 10**9)
    watch.loaded(2.0)
    statistics = watch.statistics(TurnUsage(7, 3), Timing(queued_at=10.0, first_token_at=14.0))
    assert (statistics.load_duration, statistics.prompt_eval_duration) == (2 * 10**9, 2 * 10**9)
