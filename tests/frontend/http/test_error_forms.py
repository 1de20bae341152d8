"""Errors in the form of the API that a path belongs to."""

import json

import pytest

from frontend import errors
from frontend.errors import (
    HostRefused,
    ModelUnavailable,
    QueueFull,
    ServerError,
    Unauthorized,
    from_host,
)
from frontend.http.error_body import error_event, error_response, is_anthropic
from frontend.remote.failures import rejection
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Failed
from tests.frontend.api.openai_types import checked_event

MESSAGES = "/v1/messages"
EVERY_ERROR = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ServerError) and kind not in (ServerError, HostRefused)
]
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    410: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_every_error_has_anthropics_form_on_its_paths(kind):
    response = error_response(MESSAGES, kind("what happened"), "req_1")
    assert response.status == (529 if kind.status == 503 else kind.status)
    assert json.loads(response.body) == {
        "type": "error",
        "error": {
            "type": TYPES[response.status],
            "message": "what happened",
            "details": {"error_code": kind.code},
        },
        "request_id": "req_1",
    }


def test_a_stream_ends_with_an_error_event():
    error = QueueFull("full")
    named, data, *rest = error_event(MESSAGES, error, "req_1").decode().split("\n")
    assert (named, rest) == ("event: error", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == json.loads(
        error_response(MESSAGES, error, "req_1").body
    )
    openai = json.loads(error_event("/v1/chat/completions", error, "req_1").removeprefix(b"data: "))
    assert openai["error"]["code"] == "queue_full"


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/resp_1"])
def test_a_stream_of_a_response_ends_with_an_event_of_its_kind(path):
    named, data, *_ = error_event(path, QueueFull("full"), "req_1").decode().split("\n")
    event = checked_event(data.removeprefix("data: "))
    assert (named, event.type, event.code, event.message) == ("event: error", "error", "queue_full", "full")


@pytest.mark.parametrize(
    ("code", "sizes", "expected"),
    [
        (ErrorCode.CONTEXT_LENGTH_EXCEEDED, (9, 8), "prompt is too long: 9 tokens > 8 maximum; "),
        (ErrorCode.KV_CACHE_EXCEEDED, (9, 8), "prompt is too long: 9 tokens > 8 maximum; "),
        (ErrorCode.KV_CACHE_EXCEEDED, None, "prompt is too long: "),
    ],
)
def test_a_prompt_that_is_too_long_is_refused_in_the_words_that_agents_know(code, sizes, expected):
    refusal = RequestError(code, "there is no room", "messages", sizes)
    passed_on = rejection(1, HostRefused(refusal))  # by another Nacelle
    assert isinstance(passed_on, Failed)
    for error in (HostRefused(refusal), from_host(passed_on.error)):
        shown = json.loads(error_response(MESSAGES, error, "req_1").body)["error"]["message"]
        assert shown == f"{expected}messages: there is no room"


def test_other_paths_have_other_forms():
    error = ModelUnavailable("gone", retry_after=3)
    openai = error_response("/v1/chat/completions", error, "req_1")
    assert (openai.status, json.loads(openai.body)["error"]["code"]) == (503, "model_unavailable")
    assert json.loads(error_response("/api/chat", error, "req_1").body) == {"error": "gone"}
    assert (b"retry-after", b"3") in error_response(MESSAGES, error, "req_1").raw_headers


def test_the_headers_say_how_long_the_body_is_and_how_to_authenticate():
    response = error_response(MESSAGES, Unauthorized("no key"), "req_1")
    headers = dict(response.raw_headers)
    assert headers[b"content-length"] == str(len(response.body)).encode()
    assert headers[b"www-authenticate"] == b"Bearer"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/messages", True),
        ("/v1/messages/count_tokens", True),
        ("/v1/messages/batches/x", True),
        ("/v1/messages2", False),
        ("/v1/responses", False),
    ],
)
def test_the_paths_of_anthropics_api(path, expected):
    assert is_anthropic(path) is expected
