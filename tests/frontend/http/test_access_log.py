"""What log and metrics report of a request once the last byte of its response has been sent."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest

from frontend.config import Settings
from frontend.http import access_log
from frontend.http.asgi import Application, Receive, Scope, Send, writer_of
from frontend.http.client import client_of
from frontend.http.exchange import TokenCounts, exchange_of
from frontend.http.stack import with_stack
from frontend.observability.logs import JsonFormatter, TextFormatter
from frontend.observability.metrics import Metrics
from tests.frontend.http.driving import ask, connect
from tests.frontend.http.serving import Connected, with_connection, without_writer

GET = b"GET /v1/things/7?secret=1 HTTP/1.1\r\nhost: localhost\r\nx-request-id: mine\r\n\r\n"
ROUTE = "/v1/things/{id}"


class Reports(logging.Handler):
    """Collects the access log and the metrics of one server."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics = Metrics()
        self.lines: list[str] = []
        self.fields: list[dict[str, Any]] = []
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        fields = {key: record.__dict__[key] for key in ("request_id", "outcome", "seconds", "bytes")}
        self.fields.append(fields)
        self.records.append(record)

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def reports():
    handler = Reports()
    access_log.log.addHandler(handler)
    level = access_log.log.level
    access_log.log.setLevel(logging.DEBUG)
    yield handler
    access_log.log.setLevel(level)
    access_log.log.removeHandler(handler)


def served(
    reports: Reports,
    app: Application,
    settings: Settings | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Ask once, and read the answer until it is reported."""

    async def scenario(connection: Connected) -> None:
        already = len(reports.lines)
        await connection.say(GET)
        while len(reports.lines) == already:
            await asyncio.sleep(0)

    with_connection(scenario, with_stack(app, settings or Settings(), reports.metrics, clock))


def answering(status: int, body: bytes = b"", code: str | None = None) -> Application:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        exchange_of(scope).route = ROUTE
        if code is not None:
            exchange_of(scope).fail(code)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


def test_an_answer_is_one_line_with_its_outcome_and_one_sample(reports):
    served(reports, answering(200, b"hello"))
    assert reports.lines == ["GET /v1/things/7 200"]  # the query may hold secrets
    (fields,) = reports.fields
    assert (fields["request_id"], fields["outcome"], fields["bytes"]) == ("mine", "ok", 5)
    assert reports.sample("nacelle_requests_total", route=ROUTE, status="200", outcome="ok") == 1
    assert reports.sample("nacelle_http_request_duration_seconds_count", route=ROUTE) == 1
    assert reports.sample("nacelle_http_response_bytes_total", route=ROUTE) == 5


def test_an_error_has_its_code_as_outcome_or_none(reports):
    served(reports, answering(429, b"{}", "queue_full"))
    served(reports, answering(503))
    assert reports.lines == ["GET /v1/things/7 429", "GET /v1/things/7 503"]
    assert [fields["outcome"] for fields in reports.fields] == ["queue_full", "error"]


def streaming(parts: int, fails: str | None = None, told: Callable[[], None] = lambda: None) -> Application:
    """A stream of single bytes, by the writer if there is one; `told` is called before its end."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        exchange_of(scope).route = ROUTE
        writer = writer_of(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(parts):
            if writer is None:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            else:
                writer.write(b"x")
            await asyncio.sleep(0)
        if fails is not None:
            exchange_of(scope).fail(fails)
        told()
        await send({"type": "http.response.body", "body": b"!"})

    return app


@pytest.mark.parametrize("way", [lambda app: app, without_writer])
def test_a_stream_is_reported_when_it_ends_and_an_error_event_is_its_outcome(reports, way):
    before_the_end: list[list[str]] = []
    clock = iter((100.0, 100.0, 107.5))  # at the head, at the client's arrival, at the last byte
    app = way(streaming(3, "engine_crashed", lambda: before_the_end.append(list(reports.lines))))
    served(reports, app, clock=lambda: next(clock))
    assert before_the_end == [[]]
    assert reports.lines == ["GET /v1/things/7 200"]
    (fields,) = reports.fields
    assert fields == {"request_id": "mine", "outcome": "engine_crashed", "seconds": 7.5, "bytes": 4}
    labels = {"route": ROUTE, "status": "200", "outcome": "engine_crashed"}
    assert reports.sample("nacelle_requests_total", **labels) == 1


async def waiting_for_the_end(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    exchange_of(scope).route = ROUTE
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x", "more_body": True})
    await client_of(scope).left()
    await send({"type": "http.response.body", "body": b"!"})


async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
    """Streams for ever without listening for a disconnect; only the writer knows of it."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    writer = writer_of(scope)
    assert writer is not None
    while not writer.gone:
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b"!"})


async def unanswering(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await client_of(scope).left()


@pytest.mark.parametrize(
    ("app", "status"),
    [(waiting_for_the_end, 200), (deaf, 200), (unanswering, 499)],
    ids=lambda x: str(x)[:20],
)
def test_a_client_that_leaves_is_the_outcome(reports, app, status):
    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        connection.writer.transport.abort()
        while not reports.lines:
            await asyncio.sleep(0)

    with_connection(scenario, with_stack(app, Settings(), reports.metrics))
    assert reports.lines == [f"GET /v1/things/7 {status}"]
    assert reports.fields[0]["outcome"] == "client_gone"


async def raising(scope: Scope, receive: Receive, send: Send) -> None:
    raise ValueError("a defect")


async def cut_off(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})


@pytest.mark.parametrize(
    ("app", "status", "outcome"), [(raising, 500, "internal_error"), (cut_off, 200, "incomplete")]
)
def test_an_application_that_does_not_answer_is_reported(reports, app, status, outcome):
    served(reports, app)
    assert reports.lines == [f"GET /v1/things/7 {status}"]
    assert reports.fields[0]["outcome"] == outcome


async def unreachable(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError


def test_what_the_gate_refuses_is_reported_too(reports):
    served(reports, unreachable, Settings(api_key="secret"))
    assert reports.lines == ["GET /v1/things/7 401"]
    assert reports.fields[0]["outcome"] == "invalid_api_key"
    labels = {"route": "unknown", "status": "401", "outcome": "invalid_api_key"}
    assert reports.sample("nacelle_requests_total", **labels) == 1


def test_probes_are_reported_where_they_bury_nothing(reports):
    access_log.log.setLevel(logging.INFO)
    app = with_stack(answering(200), Settings(), reports.metrics)
    ask(app, path="/health")
    assert reports.lines == []
    assert reports.sample("nacelle_requests_total", route=ROUTE, status="200", outcome="ok") == 1


async def accepting(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


async def hanging_up(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close"})


@pytest.mark.parametrize(
    ("app", "settings", "status", "outcome"),
    [
        (accepting, Settings(), 101, "ok"),
        (hanging_up, Settings(), 403, "error"),
        (unreachable, Settings(api_key="secret"), 403, "invalid_api_key"),
    ],
)
def test_a_websocket_is_reported_when_it_ends(reports, app, settings, status, outcome):
    connect(with_stack(app, settings, reports.metrics), [{"type": "websocket.disconnect"}])
    assert reports.lines == [f"WEBSOCKET /ws {status}"]
    assert reports.fields[0]["outcome"] == outcome


async def generating(scope: Scope, receive: Receive, send: Send) -> None:
    exchange = exchange_of(scope)
    exchange.model, exchange.stream = "smollm2", True
    completion = 0
    exchange.tokens = lambda: TokenCounts(12, completion)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(80):
        completion += 1
    await send({"type": "http.response.body", "body": b"!"})


def line_of(reports: Reports, formatter: logging.Formatter) -> str:
    return formatter.format(reports.records[-1])


def test_a_line_names_model_tokens_client_and_that_it_was_a_stream(reports):
    served(reports, generating)
    line = line_of(reports, TextFormatter()).split(" ", 1)[1]
    method, path, status, seconds, *rest = line.split(" ")
    assert (method, path, status) == ("GET", "/v1/things/7", "200")
    assert seconds.endswith("s")
    assert rest == ["smollm2", "12+80", "stream", "127.0.0.1", "mine"]
    fields = json.loads(line_of(reports, JsonFormatter()))
    assert (fields["model"], fields["prompt_tokens"], fields["completion_tokens"]) == ("smollm2", 12, 80)
    assert (fields["client"], fields["stream"], fields["request_id"]) == ("127.0.0.1", True, "mine")
    assert "brief" not in fields


async def transcribing(scope: Scope, receive: Receive, send: Send) -> None:
    exchange_of(scope).audio_seconds = lambda: 63.04
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def test_a_line_has_the_seconds_of_audio(reports):
    served(reports, transcribing)
    assert " 63.0s-audio 127.0.0.1 " in line_of(reports, TextFormatter())
    assert json.loads(line_of(reports, JsonFormatter()))["audio_seconds"] == 63.04


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    exchange_of(scope).fail("invalid_value", "messages[0].role")
    await send({"type": "http.response.start", "status": 400, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def test_a_refusal_says_what_and_where_first(reports):
    served(reports, refusing)
    assert " 400 invalid_value messages[0].role 0." in line_of(reports, TextFormatter())
    fields = json.loads(line_of(reports, JsonFormatter()))
    assert (fields["outcome"], fields["param"]) == ("invalid_value", "messages[0].role")


def test_a_refused_host_is_logged_with_the_option_that_would_allow_it(reports):
    app = with_stack(unreachable, Settings(), reports.metrics)
    ask(app, path="/v1/models", host="open-webui:8080")
    assert "403 forbidden (--allowed-host open-webui)" in line_of(reports, TextFormatter())
    assert json.loads(line_of(reports, JsonFormatter()))["hint"] == "--allowed-host open-webui"


def test_a_usual_line_fits_a_terminal_and_a_long_one_ends(reports):
    ask(with_stack(generating, Settings(), reports.metrics), "POST", "/v1/chat/completions")
    line = line_of(reports, TextFormatter())
    assert len(line) <= 80
    whole = json.loads(line_of(reports, JsonFormatter()))["request_id"]
    assert whole.startswith(f"req_{line.split(' ')[-1]}")
    assert len(whole) == 36
    ask(with_stack(generating, Settings(), reports.metrics), path="/" + "x" * 60_000)
    assert len(line_of(reports, TextFormatter())) < 400
