"""The layer that answers at /socket.io, by polling and over WebSockets, if Socket.IO is installed."""

import asyncio
import importlib.util
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from frontend.access.scopes import SOCKETS_PATH
from frontend.errors import BadRequest, Forbidden, NotFound, Overloaded, ServerError
from frontend.http.asgi import Application, Message, Receive, Scope, Send
from frontend.http.exchange import exchange_of
from frontend.http.gate import refuse
from frontend.sockets.admission import Admission

if TYPE_CHECKING:
    from frontend.sockets.events import SocketEvents

MAX_CONNECTIONS = 1000
EXTRA = "nacelle-server[socketio]"

log = logging.getLogger("nacelle.sockets")


class Sockets:
    """`stack` is set once the layers around this one exist."""

    def __init__(self, app: Application, admission: Admission, only_model: Callable[[], str]) -> None:
        self._app = app
        self._admission = admission
        self._only_model = only_model
        self._loading: asyncio.Future[SocketEvents] | None = None
        self.stack: Application = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not is_ours(scope["path"]):
            await self._app(scope, receive, send)
            return
        exchange_of(scope).route = SOCKETS_PATH
        try:
            events = await self._events()
            self._check(events, scope)
        except ServerError as error:
            exchange_of(scope).fail(error.code, error.param)
            await refuse(scope, receive, send, error)
            return
        await _answer(events, scope, receive, send)

    async def close(self) -> None:
        """Wait for the running prompts, then close all connections."""
        if self._loading is not None and self._loading.done():
            events = self._loading.result()
            await events.prompts.settled()
            await events.close_all()

    async def _events(self) -> "SocketEvents":
        """Created at the first request, since most servers never get one. Raises NotFound."""
        if importlib.util.find_spec("socketio") is None:
            raise NotFound(f"Socket.IO is not installed on this server; install {EXTRA}")
        if self._loading is None:
            self._loading = asyncio.ensure_future(self._load())
        return await asyncio.shield(self._loading)

    async def _load(self) -> "SocketEvents":
        await asyncio.to_thread(importlib.import_module, "frontend.sockets.events")
        from frontend.sockets.events import SocketEvents

        return SocketEvents(self._admission, self._only_model, lambda: self.stack)

    def _check(self, events: "SocketEvents", scope: Scope) -> None:
        """Raises ServerError."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if "j" in query:
            raise BadRequest("JSONP is not supported, since it would evade the check of origins")
        if "sid" not in query:
            if events.connections >= MAX_CONNECTIONS:
                raise Overloaded(f"there are already {MAX_CONNECTIONS} connections", retry_after=5)
            return
        handshake = events.handshake_of(query["sid"][0])
        owner = None if handshake is None else exchange_of(handshake).caller.key_id
        # Whoever was unknown in the handshake may be known now: keys that sign tokens are fetched meanwhile.
        if owner is not None and owner != exchange_of(scope).caller.key_id:
            raise Forbidden("this connection belongs to another caller")


def is_ours(path: str) -> bool:
    return path == SOCKETS_PATH or path.startswith(f"{SOCKETS_PATH}/")


async def _answer(events: "SocketEvents", scope: Scope, receive: Receive, send: Send) -> None:
    is_open = False

    async def sending(message: Message) -> None:
        nonlocal is_open
        is_open = message["type"] in ("websocket.accept", "websocket.send")
        await send(message)

    try:
        await events.server.handle_request(scope, receive, sending)
    except Exception as error:  # the library lets errors of malformed packets through
        log.debug("a Socket.IO client broke the protocol: %s", type(error).__name__)
        sid = parse_qs(scope["query_string"].decode("latin-1")).get("sid")
        found = sid[0] if sid else events.engine_id(scope)
        was_known = found is not None and events.is_known(found)
        if found is not None:
            await events.close(found)
        if scope["type"] == "websocket" and is_open:
            await send({"type": "websocket.close", "code": 1002})
        elif scope["type"] == "http":
            if was_known:
                raise
            await refuse(scope, receive, send, BadRequest("this connection is closed; open another one"))
