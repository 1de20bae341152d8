"""Detects that a client has disconnected, in every phase of its request, streaming or not.

API frameworks do not wait for a disconnect and iterate a stream to its end although nobody reads it. This
layer listens in their place once the request's body has arrived.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar

from frontend.http.asgi import Application, Message, Receive, Scope, Send
from frontend.http.exchange import CLIENT_GONE, exchange_of

_SCOPE_KEY = "nacelle.client"


class Client:
    """The client of one request, until it leaves."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds."""
        self._clock = clock
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

    def leave(self) -> None:
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
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = Client(self._clock)
        _current.set(client)
        client.on_leave(lambda: exchange_of(scope).fail(CLIENT_GONE))
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
            client.forget()
