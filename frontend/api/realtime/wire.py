"""Events on a WebSocket: decoded, encoded, and errors as events."""

import uuid
from typing import Any, TypeVar

import falcon.asgi
import msgspec

from frontend.api.body import decode
from frontend.api.json_size import check_size
from frontend.api.realtime.events import (
    Append,
    Clear,
    Commit,
    Envelope,
    Error,
    ErrorDetail,
    ServerEvent,
    SessionUpdate,
)
from frontend.errors import BadRequest, ServerError
from frontend.http.error_body import error_body

ClientEvent = SessionUpdate | Append | Commit | Clear

_encode = msgspec.json.Encoder().encode
_envelope: "msgspec.json.Decoder[Envelope]" = msgspec.json.Decoder(Envelope)
_DECODERS: dict[str, "msgspec.json.Decoder[Any]"] = {
    "session.update": msgspec.json.Decoder(SessionUpdate),
    "transcription_session.update": msgspec.json.Decoder(SessionUpdate),  # the beta's
    "input_audio_buffer.append": msgspec.json.Decoder(Append),
    "input_audio_buffer.commit": msgspec.json.Decoder(Commit),
    "input_audio_buffer.clear": msgspec.json.Decoder(Clear),
}

T = TypeVar("T")


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


def event_id() -> str:
    return new_id("event")


def envelope_of(data: bytes) -> Envelope:
    """Raises BadRequest."""
    return decode(data, _envelope)


def event_of(data: bytes, kind: str) -> ClientEvent:
    """Raises BadRequest, and RequestTooLarge."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        known = ", ".join(_DECODERS)
        raise BadRequest(f"type: this event is not supported; a transcription session takes {known}", "type")
    if decoder.type is SessionUpdate:  # others have no fields of any type
        check_size(data)
    event: ClientEvent = decode(data, decoder)
    return event


def error_event(error: ServerError, cause: str | None = None) -> Error:
    """`cause`: the id of the client's event."""
    shown = error_body(error).error
    return Error(event_id(), ErrorDetail(shown.message, shown.type, shown.param, shown.code, cause))


class Wire:
    """One WebSocket. Every method raises falcon.WebSocketDisconnected once the client has gone."""

    def __init__(self, socket: falcon.asgi.WebSocket) -> None:
        self._socket = socket

    async def send(self, event: ServerEvent) -> None:
        await self._socket.send_text(_encode(event).decode())

    async def receive(self) -> bytes:
        """Raises BadRequest for a binary message."""
        try:
            return (await self._socket.receive_text()).encode()
        except falcon.PayloadTypeError:
            raise BadRequest("events must be JSON in text messages") from None
