"""Detects that a client has disconnected, in every phase of its request, streaming or not.

API frameworks do not wait for a disconnect and iterate a stream to its end although nobody reads it. This
layer listens in their place once the request's body has arrived.
"""

import asyncio
import contextlib
from collections.abc import Callable
from contextvars import ContextVar

from frontend.errors import ClientGone, ServerError
from frontend.http.asgi import Application, Message, Receive, Scope, Send
from frontend.http.exchange import CLIENT_GONE, Exchange, exchange_of

_SCOPE_KEY = "nacelle.client"
_GOING_AWAY = 1001  # the status of a WebSocket that the server ends
_REASON_CHARACTERS = 100  # a close frame holds 123 bytes of it


class Client:
    """The client of one request, until it leaves or somebody else ends the request.

    `why` is the error with which work for it ends then.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds."""
        self._clock = clock
        self.why: Exception = ClientGone()
        self._arrived_at = clock()
        self._left = asyncio.Event()
        self._on_leave: list[Callable[[], None]] = []

    @property
    def age_seconds(self) -> float:
        """How long ago the request arrived."""
        return self._clock() - self._arrived_at

    def on_leave(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the client leaves; at once if it already has."""
        if self._left.is_set():
            callback()
        else:
            self._on_leave.append(callback)

    def leave(self, why: Exception | None = None) -> None:
        """End what is done for it. `why` is an error that the client, which is still there, is to get."""
        if self._left.is_set():
            return
        self.why = why or self.why
        self._left.set()
        for callback in self._on_leave:
            callback()
        self._on_leave.clear()

    def forget(self) -> None:
        """Call nobody: the request is done, and an idle connection would keep what callbacks refer to."""
        self._on_leave.clear()

    async def left(self) -> None:
        await self._left.wait()


_current: ContextVar[Client | None] = ContextVar("client", default=None)


def current_client() -> Client | None:
    """The client of the request that is being answered; None outside of one."""
    return _current.get()


def check_not_ended() -> None:
    """Raises the error with which somebody else has ended the request that is being answered."""
    client = _current.get()
    if client is not None and isinstance(client.why, ServerError):
        raise client.why


def client_of(scope: Scope) -> Client:
    """The client of the request with this scope."""
    client: Client = scope[_SCOPE_KEY]
    return client


class DisconnectWatch:
    """Gives each HTTP request a Client."""

    def __init__(self, app: Application, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        if scope["type"] == "websocket":
            await self._app(scope, receive, _closable(exchange, send))
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = Client(self._clock)
        exchange.end = client.leave
        _current.set(client)
        client.on_leave(lambda: _note(exchange, client.why))
        watcher: asyncio.Task[None] | None = None

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            client.leave()

        async def receive_and_watch() -> Message:
            nonlocal watcher
            if watcher is not None:  # the body has arrived: only the disconnect is left to come
                await client.left()
                return {"type": "http.disconnect"}
            event = await receive()
            if event["type"] == "http.disconnect":
                client.leave()
            elif not event.get("more_body", False):
                watcher = asyncio.create_task(watch())
            return event

        try:
            await self._app({**scope, _SCOPE_KEY: client}, receive_and_watch, send)
        finally:
            if watcher is not None:
                watcher.cancel()
            exchange.end = None
            client.forget()


def _note(exchange: Exchange, why: Exception) -> None:
    """An error that the client gets is noted when it is sent."""
    if isinstance(why, ClientGone):
        exchange.fail(CLIENT_GONE)


def _closable(exchange: Exchange, send: Send) -> Send:
    """The `send` of a WebSocket that an operator can close. What the application sends then is dropped."""
    closing: set[asyncio.Task[None]] = set()

    def end(why: ServerError) -> None:
        exchange.fail(why.code)
        close = {"type": "websocket.close", "code": _GOING_AWAY, "reason": why.message[:_REASON_CHARACTERS]}
        closing.add(asyncio.ensure_future(_quietly(send, close)))

    async def send_unless_closed(message: Message) -> None:
        if not closing:
            await send(message)

    exchange.end = end
    return send_unless_closed


async def _quietly(send: Send, message: Message) -> None:
    with contextlib.suppress(Exception):  # the client may have left just before
        await send(message)
