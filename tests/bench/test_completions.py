"""What answers say: chunks of several kinds of server, whole answers, and broken ones."""

import msgspec
import pytest

from bench.client import Event, Response
from bench.completions import Endpoint, read_response, request_body
from bench.errors import BadAnswer


def _stream(*events: str) -> Response:
    """A streamed response whose n-th event came at second n."""
    return Response(200, 0.5, 99.0, b"", [Event(float(n), text.encode()) for n, text in enumerate(events, 1)])


def _body(text: str) -> Response:
    return Response(200, 0.5, 99.0, text.encode(), [])


_ROLE = '{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}'
_TEXT = '{"choices":[{"delta":{"content":"hi"},"finish_reason":null}]}'
_END = '{"choices":[{"delta":{},"finish_reason":"length"}]}'
_USAGE = '{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4}}'


def test_time_to_first_token_skips_the_role_and_usage_counts_the_tokens() -> None:
    record = read_response(_stream(_ROLE, _TEXT, _TEXT, _END, _USAGE, "[DONE]"))
    assert record.arrivals == [2.0, 3.0]
    assert (record.started, record.finished) == (0.5, 99.0)
    assert (record.prompt_tokens, record.output_tokens, record.counted_from) == (9, 4, "usage")
    assert record.finish_reason == "length"


def test_without_usage_events_are_counted_and_the_record_says_so() -> None:
    record = read_response(_stream(_ROLE, _TEXT, _TEXT, _END, "[DONE]"))
    assert (record.prompt_tokens, record.output_tokens, record.counted_from) == (None, 2, "events")


def test_the_text_of_the_completions_endpoint_and_of_reasoning_counts_as_text() -> None:
    completion = '{"choices":[{"text":"a","finish_reason":null}]}'
    reasoning = '{"choices":[{"delta":{"reasoning_content":"hm"}}]}'
    assert read_response(_stream(completion, reasoning, "[DONE]")).arrivals == [1.0, 2.0]


def test_a_whole_answer_has_tokens_but_no_arrivals() -> None:
    record = read_response(
        _body(
            '{"choices":[{"message":{"content":"hello"},"finish_reason":"stop"}],"usage":{"completion_tokens":3}}'
        )
    )
    assert (record.arrivals, record.output_tokens, record.finish_reason) == ([], 3, "stop")


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (_stream(_TEXT), "truncated_stream"),
        (_stream(_TEXT, '{"error":{"message":"engine_crashed"}}'), "stream_error"),
        (_stream('{"error":{"message":"engine_crashed"}}', "[DONE]"), "stream_error"),
        (_stream("{", "[DONE]"), "malformed_answer"),
        (_body("<html>"), "malformed_answer"),
        (_body('{"choices":"none"}'), "malformed_answer"),
    ],
)
def test_an_answer_that_is_not_whole_is_a_failure_of_its_kind(response: Response, kind: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        read_response(response)
    assert caught.value.kind == kind


def test_a_servers_error_event_is_quoted() -> None:
    with pytest.raises(BadAnswer, match="engine_crashed"):
        read_response(_stream(_TEXT, '{"error":{"message":"engine_crashed"}}'))


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_a_request_is_greedy_and_asks_for_usage_when_it_streams(endpoint: Endpoint) -> None:
    body = msgspec.json.decode(request_body("m", endpoint, "hi", 5, stream=True, ignore_eos=True))
    assert body["temperature"] == 0
    assert body["stream_options"] == {"include_usage": True}
    assert (body["max_tokens"], body["ignore_eos"]) == (5, True)
    assert ("messages" in body) == (endpoint == "chat")


def test_options_that_only_some_servers_know_are_left_out_unless_asked_for() -> None:
    body = msgspec.json.decode(request_body("m", "completions", [1, 2], 5, stream=False, ignore_eos=False))
    assert body == {"model": "m", "prompt": [1, 2], "max_tokens": 5, "temperature": 0}
