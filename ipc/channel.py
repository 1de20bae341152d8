"""The socket pair between the frontend and one host incarnation, and the framing on it.

DEALER to DEALER over `ipc://`: ordered, bounded, and private to one incarnation, so that nothing stale can
reach the next. A frame is an array of messages, so that whatever happens at one moment causes one wake-up.
"""

import os
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec
import zmq

from ipc.memfd import create_sealed, read_range, write_range
from ipc.messages import OPTIONS_TYPE, TO_FRONTEND_TYPE, TO_HOST_TYPE, Launch, ToFrontend, ToHost

HIGH_WATER_MARK = 8192  # frames buffered per direction
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_LAUNCH_BYTES = 4 * 1024 * 1024
_IPC_PATH_LIMIT = 107  # sun_path, without the terminator
_READABLE = int(zmq.POLLIN)  # combining the enum itself costs 20 times as much, once per step and wake-up

_encoder = msgspec.msgpack.Encoder()
_to_host: msgspec.msgpack.Decoder[list[ToHost]] = msgspec.msgpack.Decoder(list[TO_HOST_TYPE])
_to_frontend: msgspec.msgpack.Decoder[list[ToFrontend]] = msgspec.msgpack.Decoder(list[TO_FRONTEND_TYPE])
_launch: msgspec.msgpack.Decoder[Launch[Any]] = msgspec.msgpack.Decoder(Launch[OPTIONS_TYPE])

Sent = TypeVar("Sent", bound=msgspec.Struct)
Received = TypeVar("Received", bound=msgspec.Struct)


class ChannelError(Exception):
    """The other side does not read, or sent what is not a message."""


class MessageTooLarge(ChannelError):
    """A message that exceeds MAX_MESSAGE_BYTES or MAX_LAUNCH_BYTES. Nothing was sent."""


class Channel(Generic[Sent, Received]):
    """One end. Never blocks unless told for how long."""

    def __init__(
        self, socket: "zmq.Socket[bytes]", decoder: "msgspec.msgpack.Decoder[list[Received]]"
    ) -> None:
        self._socket = socket
        self._decoder = decoder
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)

    def fileno(self) -> int:
        """ZeroMQ's signalling descriptor. It is edge-triggered: after it fires, and after each send, receive
        until nothing is left."""
        return int(self._socket.getsockopt(zmq.FD))

    def send(self, messages: Sequence[Sent], timeout: float = 0.0) -> None:
        """Send messages in one frame. Raises ChannelError if the other's buffer stays full for `timeout`
        seconds, MessageTooLarge if they exceed MAX_MESSAGE_BYTES together."""
        frame = _encoder.encode(messages)
        if len(frame) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge(f"a message of {len(frame)} bytes, at most {MAX_MESSAGE_BYTES}")
        try:
            self._socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            if not timeout or not self._socket.poll(round(timeout * 1000), zmq.POLLOUT):
                raise ChannelError("the other side has stopped reading") from None
            self._socket.send(frame, zmq.NOBLOCK)

    def receive(self) -> list[Received]:
        """The messages of the next frame; empty if there is none. Raises ChannelError on what does not
        decode."""
        if not int(self._socket.getsockopt(zmq.EVENTS)) & _READABLE:  # cheaper than an exception
            return []
        frame = self._socket.recv(zmq.NOBLOCK)
        try:
            messages = self._decoder.decode(frame)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise ChannelError(f"undecodable message: {error}") from error
        if not messages:
            raise ChannelError("a frame without a message")
        return messages

    def wait(self, timeout: float, *also: int) -> None:
        """Sleep until a message or one of the descriptors `also` is readable, at most `timeout` seconds."""
        for fd in also:
            self._poller.register(fd, zmq.POLLIN)
        self._poller.poll(round(timeout * 1000))

    def close(self, linger: float = 0.0) -> None:
        """What is not sent yet is kept for `linger` seconds, while the context is being terminated."""
        self._socket.close(linger=round(linger * 1000))


def _socket(context: "zmq.Context[zmq.Socket[bytes]]") -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
    socket.setsockopt(zmq.LINGER, 0)
    return socket


def bind(context: "zmq.Context[zmq.Socket[bytes]]", path: str) -> Channel[ToHost, ToFrontend]:
    """The frontend's end, listening on a socket file at `path`. Raises ChannelError."""
    if len(path.encode()) > _IPC_PATH_LIMIT:
        raise ChannelError(f"socket path of {len(path.encode())} bytes, at most {_IPC_PATH_LIMIT}: {path}")
    try:
        socket = _socket(context)
        try:
            socket.bind(f"ipc://{path}")
        except zmq.ZMQError:
            socket.close()
            raise
    except zmq.ZMQError as error:
        raise ChannelError(f"cannot listen at {path}: {error}") from error
    return Channel(socket, _to_frontend)


def connect(context: "zmq.Context[zmq.Socket[bytes]]", endpoint: str) -> Channel[ToFrontend, ToHost]:
    """A host's end."""
    socket = _socket(context)
    socket.connect(endpoint)
    return Channel(socket, _to_host)


def pack_launch(launch: Launch[Any]) -> int:
    """Write the launch message into a sealed memory file, whose descriptor the host inherits.

    Whatever its size, nobody waits: neither the frontend for a host that is still importing, nor a host for
    the rest of a message. Raises MessageTooLarge above MAX_LAUNCH_BYTES, and OSError.
    """
    frame = _encoder.encode(launch)
    if len(frame) > MAX_LAUNCH_BYTES:
        raise MessageTooLarge(
            f"the settings of {launch.model} take {len(frame)} bytes, at most {MAX_LAUNCH_BYTES}"
        )
    fd = create_sealed("nacelle-launch", len(frame))
    try:
        write_range(fd, 0, memoryview(frame))
    except OSError:
        os.close(fd)
        raise
    return fd


def unpack_launch(fd: int) -> Launch[Any]:
    """The launch message in a memory file. Raises ChannelError if it holds anything else."""
    size = os.fstat(fd).st_size
    if size > MAX_LAUNCH_BYTES:
        raise ChannelError(f"launch message of {size} bytes")
    try:
        return _launch.decode(read_range(fd, 0, size))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ChannelError(f"undecodable launch message: {error}") from error
