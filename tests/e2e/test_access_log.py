"""What a running server logs and counts for streams: their true end, not their first line. No model."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.serving import Serving, wait_for

ROUTE = "/v1/completions"


@pytest.fixture(scope="module")
def server() -> Iterator[Serving]:
    arguments = ("--log-format", "json", "--request-timeout-seconds", "1")
    with Serving(["synthetic:50"], arguments, {}) as serving:
        yield serving.wait_until_ready("synthetic")


def counted(server: Serving, outcome: str) -> float:
    return server.metric("nacelle_requests_total", route=ROUTE, status="200", outcome=outcome)


def line_of(server: Serving, request_id: str) -> Any:
    """The access log's line, which is written just after the last byte."""

    def found() -> list[str]:
        return [line for line in server.log_tail().splitlines() if f'"{request_id}"' in line]

    (line,) = wait_for(found, f"the log line of {request_id}")
    return json.loads(line)


@contextlib.contextmanager
def streamed(server: Serving, request_id: str, max_tokens: int) -> Iterator[httpx.Response]:
    body = {"model": "synthetic", "prompt": "Go on.", "max_tokens": max_tokens, "stream": True}
    headers = {"X-Request-ID": request_id}
    with server.http.stream("POST", ROUTE, json=body | {"ignore_eos": True}, headers=headers) as answer:
        assert answer.status_code == 200
        yield answer


def test_a_stream_that_ends_well_is_timed_to_its_last_byte(server):
    with streamed(server, "well", 20) as answer:
        body = answer.read()
    assert body.endswith(b"data: [DONE]\n\n")
    line = line_of(server, "well")
    assert (line["message"], line["outcome"]) == ("POST /v1/completions 200", "ok")
    assert (line["bytes"], line["seconds"] > 0.3) == (len(body), True)  # 20 tokens at 50 a second
    assert counted(server, "ok") == 1
    seconds = "nacelle_http_request_duration_seconds_sum"
    assert server.metric(seconds, route=ROUTE) == pytest.approx(line["seconds"], abs=0.001)


def test_a_stream_that_ends_in_an_error_event_has_failed(server):
    with streamed(server, "too-long", 1000) as answer:
        last = answer.read().split(b"data: ")[-1]
    assert json.loads(last)["error"]["code"] == "request_timeout"
    line = line_of(server, "too-long")
    assert (line["message"], line["outcome"]) == ("POST /v1/completions 200", "request_timeout")
    assert line["seconds"] > 0.9
    assert counted(server, "request_timeout") == 1


def test_a_client_that_leaves_is_no_success(server):
    with streamed(server, "leaves", 1000) as answer:
        next(answer.iter_raw())
    wait_for(lambda: counted(server, "client_gone") == 1, "it is counted")
    assert line_of(server, "leaves")["outcome"] == "client_gone"
