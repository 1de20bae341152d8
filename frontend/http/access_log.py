"""One log line and one set of metrics per request, when the last byte of its response has been handed over.

`POST /v1/chat/completions 200 request_id=… outcome=ok seconds=1.2345 bytes=20480`

The status is that of the response's first line; 499 stands for a client that left before it. `outcome` says
how the request ended: `ok`, `client_gone` (the client disconnected first), or the code of the error that was
sent. A stream that ends in an error event thus has the status 200 and, for example, the outcome
`engine_crashed`. Two outcomes are not codes: `error`, an error response without an error object (`/ready`
with a 503), and `incomplete`, a response that the server cut off. `seconds` runs from the request's head to
the response's last byte, and `bytes` counts the body.

Metrics: `nacelle_requests_total{route,status,outcome}`, `nacelle_http_request_duration_seconds{route}` and
`nacelle_http_response_bytes_total{route}`. A route is a template such as `/v1/models/{model}`, or `unknown`.
"""

import logging
from collections.abc import Callable

from frontend.http.asgi import Application, Message, Receive, Scope, Send, writer_of
from frontend.http.exchange import CLIENT_GONE, Exchange, exchange_of
from frontend.observability.metrics import Metrics

_PROBED = ("/health", "/ready", "/metrics")  # asked so often that they would bury everything else

log = logging.getLogger("nacelle.access")


class AccessLog:
    """Reports every request, also those that the layers inside refuse."""

    def __init__(self, app: Application, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        exchange = exchange_of(scope)

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
        path: str = scope["path"]
        log.log(
            logging.DEBUG if path.startswith(_PROBED) else logging.INFO,
            "%s %s %s",
            scope.get("method", "WEBSOCKET"),
            path,
            status,
            extra={
                "request_id": exchange.request_id,
                "outcome": exchange.outcome,
                "seconds": round(seconds, 4),
                "bytes": exchange.sent_bytes,
            },
        )


def observe(exchange: Exchange, message: Message) -> bool:
    """Note what a message that was sent says. Returns whether it was the last one of the response."""
    kind = message["type"]
    if kind in ("http.response.start", "websocket.http.response.start"):
        exchange.status = message["status"]
    elif kind in ("http.response.body", "websocket.http.response.body"):
        exchange.sent_bytes += len(message.get("body", b""))
        exchange.ended = not message.get("more_body", False)
    elif kind == "websocket.accept":
        exchange.status = 101
    elif kind == "websocket.close":
        exchange.status = exchange.status or 403  # of a handshake, that is a refusal
        exchange.ended = True
    return exchange.ended
