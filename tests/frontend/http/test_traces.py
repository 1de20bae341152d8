"""One span per request: what it says, which trace it belongs to, and what it never says."""

import json
import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from frontend.api.generating import start
from frontend.config import ConfigError, Settings
from frontend.http import access_log
from frontend.http.asgi import Application, Receive, Scope, Send
from frontend.http.exchange import exchange_of
from frontend.http.stack import with_stack
from frontend.observability import tracing
from frontend.observability.logs import JsonFormatter
from frontend.observability.metrics import Metrics
from frontend.observability.otel import OtelTracing, WatchedExporter, open_otel
from frontend.observability.traces import trace_id_in
from frontend.tasks.text import SequenceSpec
from ipc.messages import Accepted, ChatMessage, ChatPrompt, Delta, Finish, Sampling
from tests.frontend.http.driving import ask
from tests.frontend.routing.hosts import History

CHAT = "/v1/chat/completions"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET_PROMPT, SECRET_ANSWER, SECRET_KEY = "my-diary-entry", "the-reply-to-it", "sk-very-secret"


class Traced:
    """An application inside the stack, and what it exported."""

    def __init__(self, app: Application, keeps_text: bool = False, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = OtelTracing(self.exporter, keeps_text)
        self.app = with_stack(app, Settings(**settings), Metrics(), tracing=self.tracing)

    def ask(self, path: str = CHAT, **headers: str) -> ReadableSpan | None:
        ask(self.app, "POST", path, **headers)
        self.tracing.close()
        spans = self.exporter.get_finished_spans()
        return spans[-1] if spans else None

    def span(self, path: str = CHAT, **headers: str) -> ReadableSpan:
        span = self.ask(path, **headers)
        assert span is not None
        return span


@pytest.fixture
def log_lines() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(JsonFormatter().format(record))  # type: ignore[method-assign]
    access_log.log.addHandler(handler)
    level = access_log.log.level
    access_log.log.setLevel(logging.INFO)
    yield lines
    access_log.log.setLevel(level)
    access_log.log.removeHandler(handler)


class Chatting:
    """Answers a chat with what a recording host produces, whose death may lie between two tokens."""

    def __init__(self, dies: bool = False, fails: str | None = None, choices: int = 1) -> None:
        self.history = History()
        self._dies = dies
        self._fails = fails
        self._choices = choices

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        exchange.route, exchange.model, exchange.answered_by = scope["path"], "gpt-4", "chat"
        history = self.history
        history.now = exchange.began
        model: Any = SimpleNamespace(
            settings=history.route.settings,
            now=lambda: history.now,
            submit=self._submit,
            drop=history.route.drop,
            call_when_late=lambda *_: SimpleNamespace(cancel=lambda: None),
        )
        prompt = ChatPrompt([ChatMessage("user", SECRET_PROMPT)])
        specs = [SequenceSpec(prompt, Sampling(max_tokens=9, temperature=0.5)) for _ in range(self._choices)]
        generation = await start(SimpleNamespace(scope=scope), model, specs, True)  # type: ignore[arg-type]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if self._fails:
            exchange.fail(self._fails)
        generation.close()
        await send({"type": "http.response.body", "body": SECRET_ANSWER.encode()})

    def _submit(self, jobs: Any) -> None:
        history = self.history
        history.route.submit(jobs)
        history.now += 1.0
        for request_id in list(history.route.replicas[0].jobs):
            history.say(0, Accepted(request_id, 10))
            history.say(0, Delta(request_id, [1], SECRET_ANSWER, cached_tokens=4))
        if self._dies:
            history.die(number=signal.SIGKILL)
            history.now += 1.0
            history.ready_again()
        for request_id in list(history.route.replicas[0].jobs):
            history.say(0, Delta(request_id, [2], " indeed", Finish("stop")))


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_a_chats_span_has_the_conventional_attributes(headers):
    span = Traced(Chatting()).span(**headers)
    assert (span.name, span.kind) == ("chat chat", SpanKind.SERVER)
    attributes = dict(span.attributes or {})
    assert attributes.pop("nacelle.request_id").startswith("req_")  # type: ignore[union-attr]
    assert attributes == {
        "http.request.method": "POST",
        "http.route": CHAT,
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "nacelle",
        "gen_ai.request.model": "gpt-4",
        "gen_ai.request.max_tokens": 9,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.response.model": "chat",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.response.time_to_first_chunk": pytest.approx(1.0),
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 4,
        "nacelle.queue_seconds": 0.0,
    }
    assert span.status.status_code is StatusCode.UNSET


def test_a_span_names_the_death_of_a_host_between_its_tokens():
    span = Traced(Chatting(dies=True)).span()
    events = [(event.name, (event.timestamp - (span.start_time or 0)) / 1e9) for event in span.events]
    assert [name for name, _ in events] == ["sent to a host", "host died", "first token"]
    assert [at for _, at in events] == pytest.approx([0.0, 1.0, 1.0], abs=1e-3)
    assert span.attributes is not None
    assert span.attributes["nacelle.host_deaths"] == 1


def test_each_choice_has_its_finish_reason():
    span = Traced(Chatting(choices=2)).span()
    assert span.attributes is not None
    assert span.attributes["gen_ai.response.finish_reasons"] == ("stop", "stop")
    assert span.attributes["gen_ai.request.choice.count"] == 2


def test_the_clients_trace_goes_on():
    span = Traced(Chatting()).span(traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=1")
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.context.trace_state.get("vendor") == "1"


def test_a_trace_that_the_client_does_not_record_is_not_recorded_here(log_lines):
    assert Traced(Chatting()).ask(traceparent=f"00-{TRACE}-{PARENT}-00") is None
    assert json.loads(log_lines[0])["trace_id"] == TRACE


@pytest.mark.parametrize("parent", ["", "00-xyz", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01"])
def test_a_malformed_parent_begins_a_trace_of_our_own(parent):
    span = Traced(Chatting()).span(traceparent=parent)
    assert span.parent is None
    assert trace_id_in(parent) is None


def test_a_stream_that_fails_after_its_200_is_an_error():
    span = Traced(Chatting(fails="engine_crashed")).span()
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "engine_crashed")
    assert (span.attributes or {})["error.type"] == "engine_crashed"


def test_a_client_that_leaves_is_no_error_of_the_server():
    span = Traced(Chatting(fails="client_gone")).span()
    assert span.status.status_code is StatusCode.UNSET


def test_a_refusal_has_a_span_of_its_route():
    span = Traced(Chatting(), api_key=SECRET_KEY).span(authorization="Bearer wrong")
    assert span.name == "POST unknown"
    assert (span.attributes or {})["error.type"] == "invalid_api_key"
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("path", ["/health", "/ready/chat", "/metrics"])
def test_probes_have_no_spans(path):
    assert Traced(Chatting()).ask(path) is None


@pytest.mark.parametrize("dies", [False, True])
def test_neither_traces_nor_logs_have_prompts_answers_or_keys(log_lines, dies):
    traced = Traced(Chatting(dies), api_key=SECRET_KEY)
    span = traced.span(authorization=f"Bearer {SECRET_KEY}")
    assert span.attributes is not None
    assert span.attributes["gen_ai.usage.output_tokens"] == 2
    everything = span.to_json() + "".join(log_lines)
    assert not [secret for secret in (SECRET_PROMPT, SECRET_ANSWER, SECRET_KEY) if secret in everything]


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_prompts_and_answers_are_there_if_asked_for_and_keys_never(log_lines, headers):
    traced = Traced(Chatting(dies=True), keeps_text=True, api_key=SECRET_KEY)
    span = traced.span(authorization=f"Bearer {SECRET_KEY}", **headers)
    attributes: Any = span.attributes
    (prompt,) = json.loads(attributes["gen_ai.input.messages"])
    assert prompt == {"role": "user", "parts": [{"type": "text", "content": SECRET_PROMPT}]}
    (answer,) = json.loads(attributes["gen_ai.output.messages"])
    assert answer["parts"] == [{"type": "text", "content": f"{SECRET_ANSWER} indeed"}]
    assert SECRET_KEY not in span.to_json()
    assert SECRET_PROMPT not in "".join(log_lines)


def test_a_long_prompt_does_not_fill_the_queue_of_spans(monkeypatch):
    monkeypatch.setattr(f"{__name__}.SECRET_PROMPT", '"' * 60_000)  # each is two characters in JSON
    span = Traced(Chatting(), keeps_text=True).span()
    attributes: Any = span.attributes
    assert len(attributes["gen_ai.input.messages"]) == 64 * 1024


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_a_log_line_has_the_trace_and_the_times_of_a_generation(log_lines, headers):
    span = Traced(Chatting()).span(**headers)
    line = json.loads(log_lines[0])
    assert span.context is not None
    assert line["trace_id"] == f"{span.context.trace_id:032x}"
    assert (line["queue_seconds"], line["first_token_seconds"]) == (0.0, pytest.approx(1.0))
    assert (line["cached_tokens"], line["finish_reasons"], line["key_id"]) == (4, ["stop"], None)


# --- turned on and off ---------------------------------------------------------------------------------


def test_nothing_is_traced_unless_a_setting_asks_for_it(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert tracing.open_tracing(Settings()) is None


@pytest.mark.parametrize("setting", [{"otel": True}, {"otel_endpoint": "http://127.0.0.1:9"}])
def test_a_missing_library_is_named_with_its_remedy(monkeypatch, setting):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf"^{next(iter(setting))}: .*install nacelle-server\[otel\]$"):
        tracing.check_tracing(Settings(**setting))
    tracing.check_tracing(Settings())


class Collector(BaseHTTPRequestHandler):
    """Takes spans."""

    paths: list[str]

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.paths.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_spans_reach_a_collector_at_the_latest_when_the_server_stops():
    Collector.paths = []
    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        opened = open_otel(f"http://127.0.0.1:{server.server_port}/", keeps_text=False)
        ask(with_stack(Chatting(), Settings(), Metrics(), tracing=opened), "POST", CHAT)
        opened.close()
        server.shutdown()
    assert Collector.paths == ["/v1/traces"]


class Away(SpanExporter):
    """A collector that answers only every third time."""

    calls = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.calls += 1
        return SpanExportResult.FAILURE if self.calls % 3 else SpanExportResult.SUCCESS


def test_a_collector_that_goes_away_and_returns_is_logged_once_each(caplog):
    exporter = WatchedExporter(Away(), "http://collector")
    with caplog.at_level(logging.INFO, "nacelle.traces"):
        for _ in range(3):
            exporter.export([])
    away, back = (record.getMessage() for record in caplog.records)
    assert away == "cannot send traces to http://collector; they are dropped until it answers"
    assert back == "traces are sent to http://collector again"


def test_a_collector_that_is_away_does_not_hold_up_a_stop():
    with socket.socket() as silent:  # accepts connections, and answers nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        opened = open_otel(f"http://127.0.0.1:{silent.getsockname()[1]}", keeps_text=False)
        ask(with_stack(Chatting(), Settings(), Metrics(), tracing=opened), "POST", CHAT)
        began = time.monotonic()
        opened.close(0.1)
        assert time.monotonic() - began < 1.0
