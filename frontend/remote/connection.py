"""The calling side of one connection to another Nacelle. Imports aiohttp, so import it late."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import aiohttp

from frontend.remote.backend import Backend
from frontend.remote.client import client_session, words_of
from frontend.remote.wire import (
    HANDSHAKE_SECONDS,
    PART_BYTES,
    BodyPart,
    BodyStart,
    FromPeer,
    Hello,
    decode_from_peer,
    decode_hello,
    encode,
    encode_hello,
    frames,
    own_hello,
)
from frontend.spool import Spool
from ipc.channel import ChannelError
from ipc.messages import Cancel, Drain, Release, ToHost, Work

HEARTBEAT_SECONDS = 10.0  # between pings; a peer that answers none for half of it is gone
MAX_FRAME_BYTES = 128 * 1024**2  # of results
MAX_UNSENT = 16_384  # messages that the peer does not read

_TRY_LATER = 1013

log = logging.getLogger("nacelle.remote")


class NotANacelle(Exception):
    """The server does not take work, or speaks another version of the protocol."""


class Connection:
    """Calls `on_hello` once the peer speaks the same protocol, `on_messages` for each frame, and `on_end`
    once, with the reason."""

    def __init__(
        self,
        backend: Backend,
        on_hello: Callable[[], None],
        on_messages: Callable[[Sequence[FromPeer]], None],
        on_end: Callable[[Exception], None],
    ) -> None:
        self._backend = backend
        self._on_hello = on_hello
        self._on_messages = on_messages
        self._on_end = on_end
        self._unsent: list[Any] = []
        self._wake = asyncio.Event()
        self._sending: dict[int, asyncio.Task[None]] = {}  # large payloads, by request id
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._why: Exception | None = None  # we closed it
        self._task = asyncio.create_task(self._live())
        # Not in the task itself: one that is cancelled before its first step runs nothing.
        self._task.add_done_callback(self._ended)

    def send(self, message: ToHost) -> None:
        """Never raises: a peer that does not read is given up."""
        if isinstance(message, Release | Drain):
            return  # of shared memory, and of processes
        if isinstance(message, Cancel) and (task := self._sending.pop(message.request_id, None)) is not None:
            task.cancel()
        self._unsent.append(message)
        self._wake.set()
        if len(self._unsent) > MAX_UNSENT:
            self.close(ChannelError("it does not read"))

    def send_body(self, work: Work, body: bytes | Spool, sent: Callable[[], None]) -> None:
        """Send a large payload in parts and the work after it; `sent` is called at the end of that, however
        it ends."""
        task = asyncio.create_task(self._send_body(work, body))
        self._sending[work.request_id] = task

        def ended(task: "asyncio.Task[None]") -> None:
            if self._sending.get(work.request_id) is task:
                del self._sending[work.request_id]
            if not task.cancelled() and (error := task.exception()) is not None:
                self.close(ChannelError(f"an upload failed: {error}"))
            sent()

        task.add_done_callback(ended)

    def close(self, why: Exception) -> None:
        """End the connection; `on_end` follows soon."""
        if self._why is None:
            self._why = why
            self._task.cancel()

    # --- its life ---

    async def _live(self) -> Exception:
        """Return the reason of the end."""
        try:
            await self._converse()
        except Exception as error:
            return error
        return ConnectionError("it closed the connection")

    def _ended(self, task: "asyncio.Task[Exception]") -> None:
        for sending in self._sending.values():
            sending.cancel()
        reason = ConnectionError("it was closed") if task.cancelled() else task.result()
        self._on_end(self._why or reason)

    async def _converse(self) -> None:
        async with client_session(self._backend) as session, self._connected(session) as socket:
            self._socket = socket
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await socket.send_str(encode_hello(own_hello()))
                other = decode_hello(await _text(socket))
            if other.protocol != own_hello().protocol:
                raise NotANacelle(_difference(other))
            self._on_hello()
            writer = asyncio.create_task(self._write(socket))
            try:
                await self._read(socket)
            finally:
                writer.cancel()

    @contextlib.asynccontextmanager
    async def _connected(
        self, session: aiohttp.ClientSession
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Raises NotANacelle where a server answers that takes no work; OSError or ClientError for none."""
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                socket = await session.ws_connect(
                    self._backend.work_url,
                    heartbeat=HEARTBEAT_SECONDS,
                    max_msg_size=MAX_FRAME_BYTES,
                    compress=0,
                )
        except aiohttp.WSServerHandshakeError as error:
            if error.status >= 500:
                raise
            hint = "; a Nacelle does with its API key" if error.status in (401, 403) else ""
            raise NotANacelle(f"it takes no work from here (status {error.status}{hint})") from None
        except TimeoutError:
            raise ConnectionError(f"it did not answer within {HANDSHAKE_SECONDS:g} seconds") from None
        try:
            yield socket
        finally:
            await asyncio.shield(_closed(socket))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is aiohttp.WSMsgType.ERROR:
                raise ConnectionError(words_of(message.data))
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise ChannelError("a frame that is not binary")
            self._on_messages(decode_from_peer(message.data))
        if (error := socket.exception()) is not None:
            raise ConnectionError(words_of(error))
        raise ConnectionError("it shuts down" if socket.close_code == 1012 else "it closed the connection")

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                messages, self._unsent = self._unsent, []
                for frame in frames(messages):
                    await socket.send_bytes(frame)
        except (ConnectionError, aiohttp.ClientError):
            pass  # the reader reports it
        except Exception as error:  # nothing more would be sent
            log.exception("messages to %s cannot be sent", self._backend.name)
            self.close(ChannelError(f"messages cannot be sent: {error}"))

    async def _send_body(self, work: Work, body: bytes | Spool) -> None:
        size, number = len(body), work.request_id
        source = os.dup(body.fd) if isinstance(body, Spool) else None  # the upload may be closed meanwhile
        try:
            await self._send_now(BodyStart(number, size))
            for start in range(0, size, PART_BYTES):
                if source is not None:
                    data = await asyncio.to_thread(os.pread, source, PART_BYTES, start)
                else:
                    data = bytes(body[start : start + PART_BYTES])  # type: ignore[index]
                await self._send_now(BodyPart(number, data))
            work.payload = b""
            await self._send_now(work)
        finally:
            if source is not None:
                os.close(source)

    async def _send_now(self, message: Any) -> None:
        if self._socket is not None and not self._socket.closed:  # else the reader reports it
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                await self._socket.send_bytes(encode([message]))


async def _text(socket: aiohttp.ClientWebSocketResponse) -> str:
    """Raises NotANacelle for another greeting; ConnectionError for none, which says nothing of the server."""
    message = await socket.receive()
    if message.type is aiohttp.WSMsgType.TEXT:
        return str(message.data)
    if message.type is aiohttp.WSMsgType.BINARY:
        raise NotANacelle("it does not greet as a Nacelle does")
    if message.type is aiohttp.WSMsgType.ERROR:
        raise ConnectionError(words_of(message.data))
    if socket.close_code == _TRY_LATER:
        raise ConnectionError("it has no room for another connection")
    raise ConnectionError("it closed the connection before it greeted")


async def _closed(socket: aiohttp.ClientWebSocketResponse) -> None:
    with contextlib.suppress(Exception):
        async with asyncio.timeout(1.0):
            await socket.close()


def _difference(other: Hello) -> str:
    own = own_hello()
    return (
        f"it is a Nacelle {other.nacelle} with protocol {other.protocol}, this is a Nacelle {own.nacelle} "
        f"with protocol {own.protocol}"
    )
