"""ASGI's types, and `nacelle.writer`, an extension for writing a response body synchronously.

A streamed token that goes through `send` costs a future, a wake-up of the task that awaits it and every
coroutine in between. Where a server offers the extension, `scope["extensions"]["nacelle.writer"]` is a
`Writer` instead: what is written reaches the transport in the same turn of the event loop. Rules for its
users:

- Write after `http.response.start` was sent and before the last `http.response.body`, and never while a
  `send` is pending. Writes and sends may alternate.
- Stop writing while `paused`. The unwritten data stays with the producer, which bounds it.
- A layer that observes the bodies passed to `send` also looks at `written`; a layer that changes or delays
  bodies replaces the writer in the scope, or removes it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

WRITER = "nacelle.writer"


class Writer(Protocol):
    """Writes one response body.

    Layers read its attributes instead of wrapping it: a call per layer and token costs more than their work.
    """

    @property
    def paused(self) -> bool:
        """Whether the client reads too slowly: the transport's buffer is over its high-water mark."""

    @property
    def gone(self) -> bool:
        """Whether the client has disconnected. What is written then is dropped."""

    @property
    def written(self) -> int:
        """Body bytes written so far, without HTTP's framing and without those passed to `send`."""

    def write(self, data: bytes) -> None:
        """Write body bytes as `send` would with `more_body`.

        Raises RuntimeError outside a body and while paused.
        """

    def cut_off(self) -> None:
        """Close the connection, so that the client notices that the response is incomplete. What was written
        may be lost; what is written or sent afterwards is dropped."""

    def notify(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when the writer is no longer paused or the client has gone; None: nobody."""


def writer_of(scope: Scope) -> Writer | None:
    """The writer of a request's response, or None where the server offers none."""
    extensions: MutableMapping[str, Any] = scope.get("extensions") or {}
    return extensions.get(WRITER)


def header(scope: Scope, name: bytes) -> str | None:
    """A request header by its lower-case name. Repeated ones are joined by commas, as HTTP defines it."""
    values = [value.decode("latin-1") for key, value in scope["headers"] if key == name]
    return ",".join(values) if values else None


def is_response_start(message: Message) -> bool:
    """Whether a message carries response headers: of HTTP, or of either answer to a WebSocket's handshake."""
    return message["type"] in ("http.response.start", "websocket.accept", "websocket.http.response.start")


def with_headers(message: Message, headers: Headers) -> Message:
    """A message that starts a response, with more headers."""
    return {**message, "headers": [*message.get("headers", ()), *headers]}
