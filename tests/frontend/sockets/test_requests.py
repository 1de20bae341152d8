"""What is read of clients' messages and of streams, without a connection."""

import pytest

from frontend.api.schema.inference import InferenceComplete, InferenceError, InferenceToken
from frontend.errors import QueueFull
from frontend.http.inside import Answer
from frontend.remote.proxying import PATHS
from frontend.replay.asked import CACHED_PATHS
from frontend.sockets.admission import ENDPOINT
from frontend.sockets.answers import AnswerReader, refused
from frontend.sockets.delivery import joined
from frontend.sockets.requests import key_in
from frontend.sockets.rooms import MAX_ROOMS, Rooms


@pytest.mark.parametrize(
    ("auth", "key"),
    [
        ({"token": "k"}, "k"),
        ({"apiKey": "Bearer k"}, "k"),
        ("k", "k"),
        ({"token": 5, "key": "k"}, "k"),
        ({"other": "k"}, None),
        ({"token": ""}, None),
        (None, None),
        ([1], None),
    ],
)
def test_where_a_key_is_found(auth, key):
    assert key_in(auth) == key


def test_prompts_reach_models_of_other_servers_and_the_response_cache():
    assert ENDPOINT in PATHS & CACHED_PATHS


STREAM = (
    b": waiting\n\n"
    b'data: {"model":"m","choices":[{"delta":{"role":"assistant","reasoning_content":"hm"}}]}\n\n'
    b'data: {"model":"m","choices":[{"delta":{"content":"a"}}]}\n\n'
    b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f"}}]}}]}\n\n'
    b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}\n\n'
    b'data: {"model":"m","choices":[{"delta":{},"finish_reason":"tool_calls"}]}\n\n'
    b"data: [DONE]\n\n"
)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_stream_is_read_however_it_is_cut(size):
    reader = AnswerReader("r", "s")
    tokens = [token for at in range(0, len(STREAM), size) for token in reader.read(STREAM[at : at + size])]
    assert [(token.token, token.reasoning or "") for token in tokens] == [("", "hm"), ("a", "")]
    end = reader.end()
    assert isinstance(end, InferenceComplete)
    assert (end.message, end.reasoning, end.finish_reason) == ("a", "hm", "tool_calls")
    assert end.tool_calls and end.tool_calls[0].function.name == "f"
    assert end.tool_calls[0].function.arguments == "{}"


def test_an_error_in_a_stream_and_a_missing_end_are_errors():
    reader = AnswerReader("r", None)
    reader.read(
        b'data: {"error":{"message":"died","type":"server_error","param":null,"code":"engine_crashed"}}\n\n'
    )
    end = reader.end()
    assert isinstance(end, InferenceError)
    assert (end.error, end.code, end.request_id) == ("died", "engine_crashed", "r")
    cut = AnswerReader("r", None)
    cut.read(STREAM.removesuffix(b"data: [DONE]\n\n"))
    assert isinstance(cut.end(), InferenceError)


def test_an_http_error_that_is_no_json_is_an_error_all_the_same():
    assert refused(Answer(502, [], b"<html>")).status == 502


def test_held_tokens_are_joined():
    first = InferenceToken(token="", reasoning="a", request_id="r")
    second = joined(first, InferenceToken(token="b", request_id="r"))
    assert (second.token, second.reasoning) == ("b", "a")
    assert joined(None, first) is first


def test_rooms_are_bounded_and_forgotten():
    rooms = Rooms()
    for number in range(MAX_ROOMS):
        rooms.join("c", (None, str(number)))
    rooms.join("c", (None, "0"))
    with pytest.raises(QueueFull):
        rooms.join("c", (None, "more"))
    assert rooms.members((None, "0")) == {"c"}
    assert rooms.members(("key", "0")) == frozenset()
    rooms.leave_all("c")
    assert rooms.members((None, "0")) == frozenset()
