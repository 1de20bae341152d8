"""The protocol between two Nacelles: the messages between a frontend and its hosts, on a WebSocket.

First each side sends a Hello as JSON text, which every version can read. If both name the same protocol, all
that follows are binary frames, each a msgpack array of messages. There is no shared memory between machines:
a payload above INLINE_LIMIT_BYTES is sent ahead of its work, in parts.
"""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import metadata
from typing import Any

import msgspec

from ipc.channel import ChannelError
from ipc.lease import Lease
from ipc.messages import TO_FRONTEND_TYPE, TO_HOST_TYPE, Message, Produced, Release, ToFrontend, ToHost, Work

PART_BYTES = 256 * 1024
FRAME_BYTES = 1024**2  # of several messages; below what a server takes at once
HANDSHAKE_SECONDS = 10.0


class Hello(msgspec.Struct):
    """What a side speaks."""

    nacelle: str  # the version of the program
    protocol: str  # changes with every change of a message


class BodyStart(Message):
    """A payload of `size` bytes follows in parts; the work that it belongs to comes after the last one."""

    request_id: int
    size: int


class BodyPart(Message):
    request_id: int
    data: bytes


class Rejected(Message):
    """The peer does not do the work, for a reason that is not a host's: see frontend.remote.failures."""

    request_id: int
    kind: str  # the error's class
    message: str
    param: str | None = None
    retry_after: int | None = None  # seconds


class Leaving(Message):
    """The peer shuts down: it finishes what it has and takes no more."""


ToPeer = ToHost | BodyStart | BodyPart
FromPeer = ToFrontend | Rejected | Leaving

_TO_PEER: Any = TO_HOST_TYPE | BodyStart | BodyPart
_FROM_PEER: Any = TO_FRONTEND_TYPE | Rejected | Leaving

_encode = msgspec.msgpack.Encoder().encode
_to_peer: "msgspec.msgpack.Decoder[list[ToPeer]]" = msgspec.msgpack.Decoder(list[_TO_PEER])
_from_peer: "msgspec.msgpack.Decoder[list[FromPeer]]" = msgspec.msgpack.Decoder(list[_FROM_PEER])
_hello = msgspec.json.Decoder(Hello)


@cache
def own_hello() -> Hello:
    schema = msgspec.json.schema(tuple[list[_TO_PEER], list[_FROM_PEER]])
    digest = hashlib.blake2b(msgspec.json.encode(_without_words(schema), order="sorted"), digest_size=8)
    return Hello(metadata.version("nacelle-server"), digest.hexdigest())


def _without_words(schema: Any) -> Any:
    """A schema without the docstrings in it."""
    if isinstance(schema, dict):
        return {
            key: _without_words(value)
            for key, value in schema.items()
            if not (key == "description" and isinstance(value, str))
        }
    return [_without_words(item) for item in schema] if isinstance(schema, list) else schema


def encode_hello(hello: Hello) -> str:
    return msgspec.json.encode(hello).decode()


def decode_hello(text: str) -> Hello:
    """Raises ChannelError."""
    try:
        return _hello.decode(text)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ChannelError(f"an undecodable greeting: {error}") from error


def encode(messages: Sequence[Any]) -> bytes:
    return _encode(messages)


def frames(messages: Sequence[Any]) -> Iterator[bytes]:
    """What is sent for messages that wait together: frames of at most FRAME_BYTES, or of one message."""
    parts: list[bytes] = []
    size = 0
    for message in messages:
        part = _encode(message)
        if parts and size + len(part) > FRAME_BYTES:
            yield _frame(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part)
    if parts:
        yield _frame(parts)


def _frame(parts: Sequence[bytes]) -> bytes:
    """An array of messages that are encoded already."""
    return _encode([msgspec.Raw(part) for part in parts])


def decode_to_peer(frame: bytes) -> list[ToPeer]:
    """Raises ChannelError for what is not a frame, and for leases, which mean nothing here."""
    messages = _decoded(frame, _to_peer)
    for message in messages:
        if isinstance(message, Release) or (isinstance(message, Work) and isinstance(message.payload, Lease)):
            raise ChannelError("a lease from another machine")
    return messages


def decode_from_peer(frame: bytes) -> list[FromPeer]:
    """Raises ChannelError, likewise."""
    messages = _decoded(frame, _from_peer)
    for message in messages:
        if isinstance(message, Release) or (
            isinstance(message, Produced) and isinstance(message.payload, Lease)
        ):
            raise ChannelError("a lease from another machine")
    return messages


def _decoded(frame: bytes, decoder: "msgspec.msgpack.Decoder[list[Any]]") -> list[Any]:
    try:
        messages = decoder.decode(frame)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ChannelError(f"undecodable message: {error}") from error
    if not messages:
        raise ChannelError("a frame without a message")
    return messages
