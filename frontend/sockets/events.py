"""The Socket.IO server, and the handlers of the events that clients send."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import msgspec
import socketio
from socketio.packet import Packet

from frontend.access.sight import asking
from frontend.api.json_size import check_size
from frontend.api.schema.inference import ERROR, InferenceError, inference_error
from frontend.caller import Caller
from frontend.errors import BadRequest, ServerError
from frontend.http.asgi import Application, Scope
from frontend.sockets.admission import Admission, Refused
from frontend.sockets.delivery import Delivery
from frontend.sockets.prompts import Prompt, Prompts
from frontend.sockets.requests import chat_body, key_in, named, prompted
from frontend.sockets.rooms import Room, Rooms

MAX_MESSAGE_BYTES = 1_000_000
MAX_ATTACHMENTS = 4  # of an event; none has a use for any
HELLO_SECONDS = 10.0  # for a new connection to authenticate
_SECONDS_BETWEEN_PINGS = 25
_SECONDS_FOR_PONG = 20


Handler = Callable[..., Awaitable[Any]]  # of an event: takes the client and what it sent


class _Json:
    """The parts of `json` that packets need."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return msgspec.json.encode(value).decode()

    @staticmethod
    def loads(text: str) -> Any:
        """Raises RequestTooLarge for what would hold up other clients."""
        check_size(text.encode())
        return msgspec.json.decode(text)


class _Packet(Packet):  # type: ignore[misc]
    def decode(self, encoded_packet: Any) -> int:
        """The number of binary attachments, which are held until the last one arrives. Raises ValueError."""
        attachments: int = super().decode(encoded_packet)
        if attachments > MAX_ATTACHMENTS:
            raise ValueError("too many attachments")
        return attachments


class _Client(msgspec.Struct):
    handshake: Scope
    key: str | None


class SocketEvents:
    def __init__(
        self, admission: Admission, only_model: Callable[[], str], stack: Callable[[], Application]
    ) -> None:
        """`only_model` returns the model for prompts that name none, or raises BadRequest."""
        quiet = logging.getLogger("nacelle.sockets.protocol")
        quiet.setLevel(logging.CRITICAL)  # it would log what clients write
        self.server: Any = socketio.AsyncServer(
            async_mode="asgi",
            cors_allowed_origins=[],  # the gate has decided already
            max_http_buffer_size=MAX_MESSAGE_BYTES,
            ping_interval=_SECONDS_BETWEEN_PINGS,
            ping_timeout=_SECONDS_FOR_PONG,
            http_compression=False,
            logger=quiet,
            engineio_logger=quiet,
            serializer=_Packet,
            json=_Json,
        )
        self._admission = admission
        self._only_model = only_model
        self._rooms = Rooms()
        delivery = self._delivery = Delivery(self.server)
        self.prompts = Prompts(self._rooms, delivery, stack)
        self._clients: dict[str, _Client] = {}
        self.server.on("connect", self._connect)
        self.server.on("disconnect", self._disconnect)
        asked = {
            "inference_prompt": self._prompt,
            "inference_cancel": self._cancel,
            "inference_join": self._join,
            "inference_leave": self._leave,
        }
        for name, handler in asked.items():
            self.server.on(name, partial(self._if_it_reads, handler))
        # Its own, after a packet that breaks the protocol, waits for the client to read what is queued.
        self.server.eio.disconnect = self.close
        self._opened = self.server.eio.handlers["connect"]
        self.server.eio.on("connect", self._open)

    @property
    def connections(self) -> int:
        return len(self.server.eio.sockets)

    def handshake_of(self, engine_id: str) -> Scope | None:
        """Of a connection, by Engine.IO's id."""
        environ = self.server.environ.get(engine_id)
        scope: Scope | None = None if environ is None else environ["asgi.scope"]
        return scope

    def engine_id(self, handshake: Scope) -> str | None:
        environs = self.server.environ.items()
        return next((known for known, environ in environs if environ["asgi.scope"] is handshake), None)

    def is_known(self, engine_id: str) -> bool:
        """Whether there is such a connection. The library forgets one that is closed at its next use."""
        return engine_id in self.server.eio.sockets

    async def close(self, engine_id: str) -> None:
        if (connection := self.server.eio.sockets.get(engine_id)) is not None:
            await connection.close(wait=False, abort=True)
            await connection.queue.put(None)  # ends what waits for packets

    async def close_all(self) -> None:
        for connection in list(self.server.eio.sockets.values()):
            await connection.close(wait=False)
            await connection.queue.put(None)

    async def _open(self, engine_id: str, environ: dict[str, Any]) -> Any:
        loop = asyncio.get_running_loop()
        loop.call_later(HELLO_SECONDS, lambda: loop.create_task(self._close_stranger(engine_id)))
        return await self._opened(engine_id, environ)

    async def _close_stranger(self, engine_id: str) -> None:
        if self.server.manager.sid_from_eio_sid(engine_id, "/") not in self._clients:
            await self.close(engine_id)

    async def _connect(self, sid: str, environ: Any = None, auth: Any = None, *_: Any) -> None:
        """Also called for events of this name that clients send, with a handshake of their own making."""
        manager = self.server.manager
        if environ is not self.server.environ.get(manager.eio_sid_from_sid(sid, "/"), self):
            return
        client = _Client(environ["asgi.scope"], key_in(auth))
        try:
            await self._admission.caller(client.handshake, client.key)
        except Refused as refused:
            raise socketio.exceptions.ConnectionRefusedError(
                refused.error.error, msgspec.to_builtins(refused.error)
            ) from None
        self._clients[sid] = client

    async def _disconnect(self, sid: str, *_: Any) -> None:
        """Also called for events of this name that clients send; then they are still connected."""
        if self.server.manager.is_connected(sid, "/"):
            return
        self._clients.pop(sid, None)
        self._rooms.leave_all(sid)
        self.prompts.gone(sid)

    async def _if_it_reads(self, handler: Handler, sid: str, *payload: Any) -> Any:
        """Ignore clients that do not read: each event is answered by an acknowledgement or another event."""
        if sid not in self._clients or not await self._delivery.keeps_up(sid):
            return None  # it has left or was disconnected
        return await handler(sid, *payload)

    async def _prompt(self, sid: str, payload: Any = None, *_: Any) -> Any:
        request_id, session_id = _ids(payload)
        try:
            caller = await self._caller(sid)
            asked = prompted(payload)
            request_id, session_id = asked.request_id, asked.session_id
            assert asked.request_id is not None
            room = None if session_id is None else _room(caller, session_id)
            with asking(caller):
                body = chat_body(payload, asked, asked.model or self._only_model())
            if sid not in self._clients:  # it has left in the meantime
                return None
            prompt = Prompt(asked.request_id, session_id, sid, room, body, caller)
            self.prompts.check(prompt)
            if room is not None:
                self._rooms.enter(sid, room, self.prompts.rooms)
            self.prompts.begin(prompt)
        except Refused as refused:
            return await self._fail(sid, refused.error)
        except ServerError as error:
            return await self._fail(sid, inference_error(error, request_id, session_id))
        return {"request_id": request_id, "session_id": session_id}

    async def _cancel(self, sid: str, payload: Any = None, *_: Any) -> Any:
        try:
            wanted = named(payload or {})
        except BadRequest as error:
            return await self._fail(sid, inference_error(error, None, None))
        return {"cancelled": self.prompts.cancel(sid, wanted.request_id, wanted.session_id)}

    async def _join(self, sid: str, payload: Any = None, *_: Any) -> Any:
        return await self._with_room(sid, payload, self._rooms.join)

    async def _leave(self, sid: str, payload: Any = None, *_: Any) -> Any:
        answer = await self._with_room(sid, payload, self._rooms.leave)
        self.prompts.cancel_unfollowed()
        return answer

    async def _with_room(self, sid: str, payload: Any, change: Callable[[str, Room], None]) -> Any:
        try:
            caller = await self._caller(sid)
            session_id = named(payload).session_id
            if session_id is None:
                raise BadRequest("session_id is missing", "session_id")
            room = _room(caller, session_id)
            if sid in self._clients:
                change(sid, room)
        except Refused as refused:
            return await self._fail(sid, refused.error)
        except ServerError as error:
            return await self._fail(sid, inference_error(error, None, None))
        return {"session_id": session_id, "members": len(self._rooms.members(room))}

    async def _caller(self, sid: str) -> Caller:
        """Judged again for every event: keys expire and are revoked. Raises Refused."""
        client = self._clients[sid]
        return await self._admission.caller(client.handshake, client.key)

    async def _fail(self, sid: str, error: InferenceError) -> Any:
        await self._delivery.send(ERROR, error, [sid])
        return msgspec.to_builtins(error)


def _room(caller: Caller, session_id: str) -> Room:
    return caller.key_id, session_id


def _ids(payload: Any) -> tuple[str | None, str | None]:
    """The ids in a payload, which may be invalid otherwise: clients match the error to them."""
    found = payload if isinstance(payload, dict) else {}
    request_id, session_id = found.get("request_id"), found.get("session_id")
    return (
        request_id if isinstance(request_id, str) else None,
        session_id if isinstance(session_id, str) else None,
    )
