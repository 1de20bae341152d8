"""GET /v1/realtime: the WebSocket, and how many of them there may be."""

import asyncio
import contextlib

import falcon
import falcon.asgi

from frontend.api.area import App, Server
from frontend.api.errors import presentable
from frontend.api.openapi.operation import describes
from frontend.api.realtime.session import Session
from frontend.api.realtime.wire import Wire, envelope_of, error_event
from frontend.api.together import until_one_ends
from frontend.errors import BadRequest, Overloaded, ServerError
from frontend.http.exchange import exchange_of
from frontend.routing.router import Router
from ipc.messages import TranscriptionCard

MOST_SESSIONS = 64
IDLE_SECONDS = 300.0  # without an event of the client
SUBPROTOCOL = "realtime"
_NORMAL, _POLICY, _INTERNAL, _TRY_LATER = 1000, 1008, 1011, 1013  # why a WebSocket is closed


class Realtime:
    def __init__(self, router: Router) -> None:
        self._router = router
        self._sessions = 0

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        raise BadRequest("/v1/realtime is a WebSocket; connect with ws:// or wss://")

    @describes("Realtime transcription, a WebSocket", query={"model": str, "intent": str}, is_websocket=True)
    async def on_websocket(self, request: falcon.asgi.Request, socket: falcon.asgi.WebSocket) -> None:
        offered = socket.subprotocols
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        exchange, wire = exchange_of(request.scope), Wire(socket)
        self._sessions += 1
        try:
            self._check(request)
            session = Session(self._router, wire, beta=is_beta(request, offered))
            exchange.audio_seconds = lambda: session.items.seconds
            if model := request.get_param("model") or default_model(self._router):
                exchange.model = model
                await session.choose(model)
            await _converse(session, wire)
            await socket.close(_NORMAL)
        except falcon.WebSocketDisconnected:
            pass
        except Exception as error:
            shown = presentable(error, "a realtime session")
            exchange.fail(shown.code, shown.param)
            with contextlib.suppress(falcon.WebSocketDisconnected):
                await wire.send(error_event(shown))
                await socket.close(closing_code(shown))
        finally:
            self._sessions -= 1

    def _check(self, request: falcon.asgi.Request) -> None:
        """Raises ServerError."""
        self._router.check_open()
        if self._sessions > MOST_SESSIONS:
            raise Overloaded(f"there are already {MOST_SESSIONS} sessions; try again later")
        if request.get_param("intent", default="transcription") != "transcription":
            raise BadRequest("intent: only transcription is supported", "intent")


def is_beta(request: falcon.asgi.Request, subprotocols: tuple[str, ...]) -> bool:
    """Whether the client speaks the API's first version, with other names of events."""
    asked = request.get_header("OpenAI-Beta") or ""
    return "realtime=v1" in asked or any(name.startswith("openai-beta.realtime") for name in subprotocols)


def default_model(router: Router) -> str | None:
    """The one model that transcribes, if there is one."""
    routes = router.visible_routes
    names = [route.name for route in routes if isinstance(route.last_card, TranscriptionCard)]
    return names[0] if len(names) == 1 else None


def closing_code(error: ServerError) -> int:
    if error.status == 503:
        return _TRY_LATER
    return _POLICY if error.status < 500 else _INTERNAL


async def _converse(session: Session, wire: Wire) -> None:
    """Until the client leaves or has been silent for too long. Raises WebSocketDisconnected."""
    await session.announce("created")
    await until_one_ends(_receive(session, wire), session.input.listen(), session.items.run())


async def _receive(session: Session, wire: Wire) -> None:
    while True:
        cause = None
        receiving = asyncio.ensure_future(wire.receive())
        try:
            if not await _in_time(receiving, session):
                return
            data = receiving.result()
            envelope = envelope_of(data)
            cause = envelope.event_id
            await session.handle(data, envelope.type)
        except ServerError as error:
            await wire.send(error_event(error, cause))
        finally:
            receiving.cancel()


async def _in_time(receiving: "asyncio.Future[bytes]", session: Session) -> bool:
    """Wait for the next event. Returns False once the client is idle and no work is left to wait for."""
    while True:
        done, _ = await asyncio.wait([receiving], timeout=IDLE_SECONDS)
        if done or not session.items.held_bytes:
            return bool(done)


def install(app: App, server: Server) -> None:
    app.add_route("/v1/realtime", Realtime(server.router))
