"""One log line and one set of metrics per request, when the last byte of its response has been handed over.

    12:00:00 POST /v1/chat/completions 200 1.23s smollm2 12+80 stream 127.0.0.1 1a2b3c
    12:00:01 POST /v1/chat/completions 400 invalid_value messages[0].role 0.01s 127.0.0.1 4d5e6f

The status is that of the response's first line; 499 stands for a client that left before it. After it comes
what went wrong, if anything did: `client_gone` (the client disconnected first), or the code of the error
that was sent and the field that it names. A stream that ends in an error event thus has the status 200 and,
for example, the outcome `engine_crashed`. Two outcomes are not codes: `error`, an error response without an
error object (`/ready` with a 503), and `incomplete`, a response that the server cut off. Then come the
seconds from the request's head to the response's last byte, the model, the tokens of prompt and completion
or the seconds of audio, the id of the API key, the client's address, and the first digits of the request
id. Nothing of what the client wrote or received is logged. JSON lines have every field by name, the whole
id, and the size of the body in bytes.

Metrics: `nacelle_requests_total{route,status,outcome}`, `nacelle_http_request_duration_seconds{route}` and
`nacelle_http_response_bytes_total{route}`. A route is a template such as `/v1/models/{model}`, or `unknown`.
"""

import logging
from collections.abc import Callable
from typing import Any

from frontend.http.asgi import Application, Message, Receive, Scope, Send, writer_of
from frontend.http.exchange import CLIENT_GONE, OK, Exchange, TokenCounts, exchange_of
from frontend.http.identity import short_id
from frontend.http.in_flight import InFlight
from frontend.observability.logs import BRIEF
from frontend.observability.metrics import Metrics
from frontend.shortened import shortened

_PROBED = ("/health", "/ready", "/metrics")  # asked so often that they would bury everything else
_SHOWN_CHARACTERS = 80  # of a name that the client sent
_PATH_CHARACTERS = 200

log = logging.getLogger("nacelle.access")


class AccessLog:
    """Reports every request, also those that the layers inside refuse."""

    def __init__(
        self,
        app: Application,
        metrics: Metrics,
        clock: Callable[[], float],
        in_flight: InFlight | None = None,
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock
        self._in_flight = in_flight or InFlight()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        exchange = exchange_of(scope)
        self._in_flight.add(exchange)

        async def observing(message: Message) -> None:
            await send(message)
            if not exchange.ended and observe(exchange, message):
                self._report(scope, exchange)

        try:
            await self._app(scope, receive, observing)
            if scope["type"] == "websocket" and not exchange.ended:  # the client closed it, as usual
                exchange.ended = True
                self._report(scope, exchange)
        except Exception:
            exchange.fail("internal_error")
            raise
        finally:
            if not exchange.ended:
                self._report(scope, exchange)

    def _report(self, scope: Scope, exchange: Exchange) -> None:
        seconds = self._clock() - exchange.began
        if (writer := writer_of(scope)) is not None:
            exchange.sent_bytes += writer.written
            if writer.gone and exchange.failure is None:
                exchange.failure = CLIENT_GONE
        status = str(exchange.final_status)
        self._metrics.requests.labels(exchange.route, status, exchange.outcome).inc()
        self._metrics.http_seconds.labels(exchange.route).observe(seconds)
        self._metrics.http_bytes.labels(exchange.route).inc(exchange.sent_bytes)
        if exchange.variants is not None:
            labels = (exchange.variants, exchange.answered_by, exchange.outcome)
            self._metrics.variant_requests.labels(*labels).inc()
        path: str = scope["path"]
        tokens = exchange.tokens() if exchange.tokens is not None else None
        self._in_flight.ended(exchange, seconds, tokens)
        exchange.tokens = exchange.phase = exchange.first_token_seconds = (
            None  # an idle connection would keep alive what it refers to
        )
        client = (scope.get("client") or (None,))[0]
        log.log(
            logging.DEBUG if path.startswith(_PROBED) else logging.INFO,
            "%s %s %s",
            scope.get("method", "WEBSOCKET"),
            _shown(path, _PATH_CHARACTERS),
            status,
            extra={
                BRIEF: brief(exchange, seconds, tokens, client),
                **fields(exchange, seconds, tokens, client),
            },
        )


def fields(
    exchange: Exchange, seconds: float, tokens: TokenCounts | None, client: str | None
) -> dict[str, Any]:
    """What a JSON line says besides method, path and status."""
    return {
        "request_id": exchange.request_id,
        "key_id": exchange.caller.key_id,
        "outcome": exchange.outcome,
        "param": _shown(exchange.param),
        "hint": exchange.hint,
        "seconds": round(seconds, 4),
        "bytes": exchange.sent_bytes,
        "model": _shown(exchange.model),
        "answered_by": exchange.answered_by,
        "prompt_tokens": tokens.prompt if tokens is not None else None,
        "completion_tokens": tokens.completion if tokens is not None else None,
        "audio_seconds": _audio_seconds(exchange),
        "stream": exchange.stream,
        "client": client,
    }


def brief(exchange: Exchange, seconds: float, tokens: TokenCounts | None, client: str | None) -> str:
    """What a text line says, the most interesting first."""
    counts = None
    if tokens is not None:
        counts = f"{tokens.prompt}" if tokens.completion is None else f"{tokens.prompt}+{tokens.completion}"
    parts = [
        None if exchange.outcome == OK else exchange.outcome,
        _shown(exchange.param),
        exchange.hint and f"({exchange.hint})",
        f"{seconds:.2f}s",
        _model(exchange),
        counts,
        audio if (audio := _audio_seconds(exchange)) is None else f"{audio:.1f}s-audio",
        "stream" if exchange.stream else None,
        exchange.caller.key_id and shortened(exchange.caller.key_id, _SHOWN_CHARACTERS),
        client,
        short_id(exchange.request_id),
    ]
    return " ".join(part for part in parts if part)


def _model(exchange: Exchange) -> str | None:
    """`chat`, or `gpt-4→chat` where the client used another name."""
    if exchange.answered_by in (None, exchange.model):
        return _shown(exchange.model)
    return f"{_shown(exchange.model)}→{exchange.answered_by}"


def _audio_seconds(exchange: Exchange) -> float | None:
    return None if exchange.audio_seconds is None else round(exchange.audio_seconds(), 3)


def _shown(text: str | None, characters: int = _SHOWN_CHARACTERS) -> str | None:
    return text if text is None else shortened(text, characters)


def observe(exchange: Exchange, message: Message) -> bool:
    """Note what a message that was sent says. Returns whether it was the last one of the response."""
    kind = message["type"]
    if kind in ("http.response.start", "websocket.http.response.start"):
        exchange.status = message["status"]
    elif kind == "websocket.send":
        exchange.sent_bytes += len(message.get("text") or message.get("bytes") or b"")
    elif kind in ("http.response.body", "websocket.http.response.body"):
        exchange.sent_bytes += len(message.get("body", b""))
        exchange.ended = not message.get("more_body", False)
    elif kind == "websocket.accept":
        exchange.status = 101
    elif kind == "websocket.close":
        exchange.status = exchange.status or 403  # of a handshake, that is a refusal
        exchange.ended = True
    return exchange.ended
