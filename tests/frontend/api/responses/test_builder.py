"""From turn events to response events: the state machine, judged by the OpenAI client's types."""

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.api.responses.builder import ResponseBuilder
from frontend.api.responses.request import response_of
from frontend.api.responses.stream import frames
from frontend.api.schema.responses import ResponsesRequest
from frontend.api.turns import Finished, StartedOver, TurnUsage
from frontend.errors import BadRequest, EngineCrashed, QueueFull
from frontend.parsing.events import CallArguments, CallBegun, Content, Reasoning
from tests.frontend.api.openai_types import accumulated, checked_event, checked_response

USAGE = TurnUsage(10, 5, 3, 2)
CALL_ID = "call_{}".format
STOP, LENGTH = Finished("stop"), Finished("length")


def begun(**fields):
    body = msgspec.convert({"model": "m", "input": "hi", **fields}, ResponsesRequest)
    ids = itertools.count()
    return ResponseBuilder(
        response_of(body, new_id := lambda p: f"{p}_{next(ids)}", 1000.5), new_id, lambda: 1002.5
    )


def decoded(events):
    """Events over the wire, as the client's types."""
    found = []
    for frame in frames(events).decode().split("\n\n")[:-1]:
        name, data = frame.split("\n")
        event = checked_event(data.removeprefix("data: "))
        assert name == f"event: {event.type}"
        found.append(event)
    return found


def played(events, builder=None, usage=USAGE):
    builder = builder or begun()
    said = builder.begin()
    for event in events:
        said += builder.apply(event, CALL_ID)
    return decoded([*said, *builder.end(usage), *builder.announce()])


def types(events):
    return [event.type.removeprefix("response.") for event in events]


TEXT = ["output_item.added", "content_part.added", "output_text.delta"]
TEXT_DONE = ["output_text.done", "content_part.done", "output_item.done"]


def test_a_text_comes_in_the_order_that_clients_expect():
    events = played([Content("Hel"), Content(""), Content("lo"), STOP])
    middle = [*TEXT, "output_text.delta", *TEXT_DONE]
    assert types(events) == ["created", "in_progress", *middle, "completed"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[2].item.content == []
    assert [events[4].delta, events[5].delta, events[6].text] == ["Hel", "lo", "Hello"]
    response = events[-1].response
    assert response.output_text == "Hello"
    assert (response.status, response.completed_at) == ("completed", 1002)
    assert response.usage.model_dump(exclude_none=True) == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 15,
    }


def test_reasoning_text_and_calls_are_items_of_their_own():
    events = played(
        [
            Reasoning("hm"),
            Content("Let me see."),
            CallBegun(0, "f"),
            CallArguments(0, '{"a":'),
            CallArguments(0, "1}"),
            CallBegun(1, "g"),
            CallArguments(1, "{}"),
            Finished("tool_calls"),
        ]
    )
    reasoning, message, first, second = events[-1].response.output
    assert (reasoning.type, reasoning.content[0].text) == ("reasoning", "hm")
    assert [part.text for part in reasoning.summary] == ["hm"]
    assert (message.type, message.content[0].text) == ("message", "Let me see.")
    assert (first.type, first.name, first.arguments) == ("function_call", "f", '{"a":1}')
    assert (second.name, second.arguments) == ("g", "{}")
    assert (first.call_id, second.call_id) == ("call_0", "call_1")
    assert all(item.status == "completed" for item in events[-1].response.output)
    names = types(events)
    assert names[2:11] == [
        "output_item.added",
        "content_part.added",
        "reasoning_summary_part.added",
        "reasoning_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
    ]
    assert [e.output_index for e in events if e.type == "response.output_item.done"] == [0, 1, 2, 3]
    assert names.count("function_call_arguments.done") == 2
    assert accumulated(events).output_text == "Let me see."


def test_a_silent_stream_says_again_that_it_is_in_progress_with_numbers_without_gaps():
    builder = begun()
    said = [*builder.heartbeat(), *builder.heartbeat()]
    assert builder.begin() == []  # it has begun already
    said += builder.apply(Content("Hel"), CALL_ID)
    said += builder.heartbeat()
    said += builder.apply(Content("lo"), CALL_ID)
    said += [*builder.end(USAGE), *builder.heartbeat(), *builder.announce()]
    events = decoded(said)
    assert types(events)[:3] == ["created", "in_progress", "in_progress"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    beats = [event.response for event in events if event.type == "response.in_progress"]
    assert [(beat.status, beat.output_text) for beat in beats[-2:]] == [
        ("in_progress", "Hel"),
        ("in_progress", "Hello"),
    ]
    assert accumulated(events).output_text == "Hello"


def test_a_call_without_arguments_is_a_call():
    events = played([CallBegun(0, "f"), Finished("tool_calls")])
    assert types(events)[2:-1] == ["output_item.added", "function_call_arguments.done", "output_item.done"]


def test_text_around_a_call_is_two_messages():
    events = played([Content("a"), CallBegun(0, "f"), Content("b"), STOP])
    assert [item.type for item in events[-1].response.output] == ["message", "function_call", "message"]


def test_no_text_at_all_is_an_empty_message():
    response = played([STOP])[-1].response
    assert (response.status, response.output_text, len(response.output)) == ("completed", "", 1)


def test_the_token_limit_makes_it_incomplete():
    events = played([Content("Hel"), LENGTH])
    assert types(events)[-4:] == [*TEXT_DONE, "incomplete"]
    response = events[-1].response
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output[0].status == "incomplete"
    assert response.usage.total_tokens == 15
    assert response.completed_at is None


def test_arguments_that_were_cut_off_are_never_called_done():
    events = played([CallBegun(0, "f"), CallArguments(0, '{"a'), LENGTH])
    assert "function_call_arguments.done" not in types(events)
    assert events[-1].response.output[0].status == "incomplete"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineCrashed("the engine died"), "server_error"),
        (BadRequest("too long"), "invalid_prompt"),
        (QueueFull("full"), "rate_limit_exceeded"),
    ],
)
def test_a_failure_keeps_what_was_said_and_says_why(error, code):
    builder = begun()
    said = [*builder.begin(), *builder.apply(Content("Hel"), CALL_ID)]
    builder.fail(error)
    events = decoded([*said, *builder.announce()])
    assert types(events) == ["created", "in_progress", *TEXT, "failed"]
    response = events[-1].response
    assert (response.status, response.error.code, response.error.message) == ("failed", code, error.message)
    assert (response.output[0].status, response.output[0].content[0].text) == ("incomplete", "Hel")
    assert response.usage is None


def test_an_end_that_nobody_heard_of_can_still_fail():
    builder = begun()
    said = [
        *builder.begin(),
        *builder.apply(Content("Hello"), CALL_ID),
        *builder.apply(LENGTH, CALL_ID),
        *builder.end(USAGE),
    ]
    builder.fail(EngineCrashed("the store died"))
    events = decoded([*said, *builder.announce()])
    assert types(events)[-1] == "failed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.incomplete_details is None


def test_after_its_end_a_response_does_not_change():
    for end in (lambda b: b.end(USAGE), lambda b: b.fail(QueueFull("full")), lambda b: b.cancel()):
        builder = begun()
        builder.begin()
        builder.apply(Content("a"), CALL_ID)
        end(builder)
        response = builder.response
        assert builder.apply(Content("b"), CALL_ID) == builder.apply(CallBegun(0, "f"), CALL_ID) == []
        assert builder.response == response


def test_what_is_started_over_is_forgotten():
    events = played([Reasoning("x"), Content("wro"), LENGTH, StartedOver(), Content("right"), STOP])
    assert events[-1].response.status == "completed"
    assert [item.type for item in events[-1].response.output] == ["message"]
    assert events[-1].response.output_text == "right"


def test_a_snapshot_shows_what_there_is_and_stays_as_it_was():
    builder = begun(background=True)
    assert checked_response(msgspec.json.encode(builder.response)).status == "queued"
    builder.begin()
    builder.apply(Reasoning("hm"), CALL_ID)
    builder.apply(Content("Hel"), CALL_ID)
    early = builder.response
    builder.apply(Content("lo"), CALL_ID)
    builder.cancel()
    response = checked_response(msgspec.json.encode(early))
    assert (response.status, response.output_text) == ("in_progress", "Hel")
    assert [item.status for item in response.output] == ["completed", "in_progress"]
    assert (builder.response.status, builder.response.output[1].status) == ("cancelled", "incomplete")


def test_the_response_repeats_what_was_asked():
    fields: dict[str, Any] = {
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 7,
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": False,
        "text": {
            "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}
        },
        "reasoning": {"effort": "low", "summary": "auto"},
        "truncation": "auto",
        "previous_response_id": "resp_1",
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "store": False,
    }
    response = checked_response(msgspec.json.encode(begun(**fields).response))
    shown = response.model_dump(by_alias=True, exclude_unset=True)
    assert {name: shown[name] for name in fields if name not in ("tools", "text")} == {
        name: value for name, value in fields.items() if name not in ("tools", "text")
    }
    assert response.tools[0].name == "f"
    assert shown["text"]["format"] == fields["text"]["format"]
    plain = checked_response(msgspec.json.encode(begun().response))
    assert (plain.tool_choice, plain.truncation, plain.parallel_tool_calls) == ("auto", "disabled", True)
    assert plain.text.format.type == "text"


ANY_EVENT = st.one_of(
    st.builds(Content, st.text(max_size=5)),
    st.builds(Reasoning, st.text(max_size=5)),
    st.builds(CallBegun, st.just(0), st.sampled_from("fg")),
    st.builds(CallArguments, st.just(0), st.text(max_size=5)),
)


@given(st.lists(ANY_EVENT, max_size=12), st.sampled_from([STOP, LENGTH, Finished("tool_calls"), None]))
def test_whatever_a_turn_says_the_stream_is_whole(turn, finish):
    builder = begun()
    said = builder.begin()
    calls = itertools.count()
    turn = [CallBegun(next(calls), e.name) if isinstance(e, CallBegun) else e for e in turn]
    for event in [*turn, *([finish] if finish else [])]:
        said += builder.apply(event, CALL_ID)
    if finish is None:
        builder.fail(EngineCrashed("died"))
        said += builder.announce()
    else:
        said += [*builder.end(USAGE), *builder.announce()]
    events = decoded(said)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    final = events[-1].response
    done = [event.item for event in events if event.type == "response.output_item.done"]
    assert done == final.output[: len(done)]
    if finish is not None:
        assert len(done) == len(final.output)
    for index, item in enumerate(final.output):
        deltas: dict[str, str] = {}
        for event in events:
            if getattr(event, "output_index", None) == index and hasattr(event, "delta"):
                deltas[event.type] = deltas.get(event.type, "") + event.delta
        text = item.arguments if item.type == "function_call" else item.content[0].text
        assert set(deltas.values()) <= {text}
        assert len(deltas) == (0 if not text else 2 if item.type == "reasoning" else 1)
    whole = accumulated(events)
    assert (whole is not None) == (final.status == "completed")
