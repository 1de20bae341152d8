"""Noticing that a client has gone, in every phase of its request, streaming or not.

Falcon cannot wait for a disconnect and iterates a stream to its end although nobody listens, so this
wrapper around the whole application listens in its place once the request's body is in.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import falcon.asgi

from frontend.routing.router import OnLeave, nobody_leaves

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[None]]

_SCOPE_KEY = "nacelle.client"


class Client:
    """One request's client, present until it leaves."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._arrived_at = clock()
        self._left = asyncio.Event()
        self._on_leave: list[Callable[[], None]] = []

    @property
    def age_seconds(self) -> float:
        """Of its request."""
        return self._clock() - self._arrived_at

    def on_leave(self, callback: Callable[[], None]) -> None:
        """Call back when the client leaves; at once if it already has."""
        if self._left.is_set():
            callback()
        else:
            self._on_leave.append(callback)

    def leave(self) -> None:
        self._left.set()
        for callback in self._on_leave:
            callback()
        self._on_leave.clear()

    async def left(self) -> None:
        await self._left.wait()


def client_of(scope: Message) -> Client:
    """The client of the request with this ASGI scope."""
    client: Client = scope[_SCOPE_KEY]
    return client


def on_leave_of(request: falcon.asgi.Request | None) -> OnLeave:
    """What tells when the client of `request` leaves; None: nobody waits."""
    return nobody_leaves if request is None else client_of(request.scope).on_leave


class DisconnectWatch:
    """ASGI middleware that gives each HTTP request a Client."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope[_SCOPE_KEY] = Client(time.monotonic)
        watcher: asyncio.Task[None] | None = None

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            client.leave()

        async def receive_and_watch() -> Message:
            nonlocal watcher
            if watcher is not None:  # the body is in: only the disconnect is left to come
                await client.left()
                return {"type": "http.disconnect"}
            event = await receive()
            if event["type"] == "http.disconnect":
                client.leave()
            elif not event.get("more_body", False):
                watcher = asyncio.create_task(watch())
            return event

        try:
            await self._app(scope, receive_and_watch, send)
        finally:
            if watcher is not None:
                watcher.cancel()
