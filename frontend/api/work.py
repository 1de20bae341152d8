"""GET /internal/work/{model}: the WebSocket on which another Nacelle sends its work."""

import asyncio
import contextlib
import logging

import falcon
import falcon.asgi

from frontend.api.area import App, Server
from frontend.api.openapi.operation import describes
from frontend.api.together import until_one_ends
from frontend.errors import BadRequest, ServerError
from frontend.http.exchange import exchange_of
from frontend.remote.backend import WORK_PATH
from frontend.remote.session import Session
from frontend.remote.wire import HANDSHAKE_SECONDS, decode_hello, encode_hello, own_hello
from ipc.channel import ChannelError

MAX_CONNECTIONS = 64
_NORMAL, _POLICY, _TRY_LATER = 1000, 1008, 1013  # why a WebSocket is closed

log = logging.getLogger("nacelle.remote")


class RemoteWork:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._connections = 0
        self._sessions: set[Session] = set()
        server.router.on_drain.append(self._leave)

    async def _leave(self) -> None:
        if requests := sum(session.requests for session in self._sessions):
            log.info("finishing %d requests of other servers", requests)
        await asyncio.gather(*(session.leave() for session in self._sessions))

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response, model: str) -> None:
        raise BadRequest(f"{WORK_PATH} is a WebSocket for other Nacelle servers")

    @describes("Work of another Nacelle, a WebSocket", is_websocket=True)
    async def on_websocket(
        self, request: falcon.asgi.Request, socket: falcon.asgi.WebSocket, model: str
    ) -> None:
        exchange = exchange_of(request.scope)
        exchange.model = model
        await socket.accept()
        self._connections += 1
        code = _NORMAL
        try:
            if self._connections > MAX_CONNECTIONS:
                code = _TRY_LATER
            elif await _same_protocol(socket):
                await self._serve(model, socket)
        except falcon.WebSocketDisconnected:
            pass
        except ServerError as error:
            exchange.fail(error.code)
            code = _TRY_LATER
        except (ChannelError, falcon.PayloadTypeError, TimeoutError) as error:
            exchange.fail("protocol")
            log.warning("a connection for work on %s is closed: %s", model, error or "it stays silent")
            code = _POLICY
        finally:
            self._connections -= 1
            with contextlib.suppress(falcon.WebSocketDisconnected, RuntimeError):
                await socket.close(code)

    async def _serve(self, model: str, socket: falcon.asgi.WebSocket) -> None:
        server = self._server
        session = Session(server.router, model, server.spools, server.max_upload_bytes, socket.send_data)
        try:
            self._sessions.add(session)
            log.info("another Nacelle connects for work on %s", model)
            await until_one_ends(_receive(session, socket), _answer(session))
        finally:
            self._sessions.discard(session)
            session.close()


async def _same_protocol(socket: falcon.asgi.WebSocket) -> bool:
    """Exchange greetings. Raises ChannelError, TimeoutError, PayloadTypeError or WebSocketDisconnected."""
    own = own_hello()
    other = decode_hello(await asyncio.wait_for(socket.receive_text(), HANDSHAKE_SECONDS))
    await socket.send_text(encode_hello(own))
    if other.protocol != own.protocol:
        log.warning("a Nacelle %s asks for work; this is %s, which differs", other.nacelle, own.nacelle)
    return other.protocol == own.protocol


async def _receive(session: Session, socket: falcon.asgi.WebSocket) -> None:
    while True:
        await session.take(await socket.receive_data())


async def _answer(session: Session) -> None:
    await session.open()
    await session.write()


def install(app: App, server: Server) -> None:
    app.add_route(f"{WORK_PATH}/{{model:path}}", RemoteWork(server))
