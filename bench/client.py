"""A small HTTP/1.1 client for load generation. It must be fast: its own cost is measured as the server's.

General-purpose clients spend over 100 µs on each server-sent event. This one reads the clock once per packet,
splits lines, and leaves decoding until after the run.
"""

import asyncio
import time
import uuid
from collections.abc import Callable
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec

from bench.errors import (
    ClientError,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    HttpError,
    MalformedResponse,
)


class Event(msgspec.Struct, frozen=True, gc=False):
    """The data of one server-sent event, and the time when it was complete, in `clock`'s seconds."""

    time: float
    data: bytes


class Response(msgspec.Struct):
    """A complete response. Times are in `clock`'s seconds; `events` is empty unless it is an event stream."""

    status: int
    started: float
    finished: float
    body: bytes
    events: list[Event]
    first_body: float | None = None  # when the first bytes of the body arrived


JSON_TYPE = "application/json"
_JOINED_BYTES = 64 * 1024  # larger bodies are not copied behind their heads

clock: Callable[[], float] = time.perf_counter


class EventSplitter:
    """Splits the bytes of an event stream into the data of its events, wherever packets begin and end.

    Each `data:` line counts as one event, because OpenAI servers send one per event; other fields are
    skipped.
    """

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, body: bytes) -> list[bytes]:
        lines = (self._tail + body).split(b"\n")
        self._tail = lines.pop()
        return [line[5:].strip() for line in lines if line.startswith(b"data:")]


class _Connection(asyncio.Protocol):
    """One keep-alive connection, with at most one request in flight. httptools calls its on_… methods."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Response] | None = None
        self._reset()

    def _reset(self) -> None:
        self._started = self._now = clock()
        self._splitter: EventSplitter | None = None
        self._body: list[bytes] = []
        self._first_body: float | None = None
        self._events: list[Event] = []
        self.answered = False  # a byte of the current response has arrived

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, head: bytes, body: bytes) -> Response:
        """Send one request and wait for the complete response."""
        if self._transport is None or not self.usable:
            raise ConnectionLost("the connection was closed")
        self._reset()
        self._waiter = asyncio.get_running_loop().create_future()
        if len(body) <= _JOINED_BYTES:
            self._transport.write(head + body)
        else:
            self._transport.write(head)
            self._transport.write(body)
        return await self._waiter

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: ClientError) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        self.abort()

    # asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's has its methods but is not a subclass

    def data_received(self, data: bytes) -> None:
        self._now = clock()
        self.answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(MalformedResponse(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        reason = f": {exc}" if exc else ""
        self._fail(ConnectionLost(f"the server closed the connection before the end of a response{reason}"))

    # httptools
    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-type" and value.startswith(b"text/event-stream"):
            self._splitter = EventSplitter()

    def on_body(self, body: bytes) -> None:
        if self._first_body is None:
            self._first_body = self._now
        if self._splitter is None:
            self._body.append(body)
            return
        now = self._now
        self._events.extend([Event(now, data) for data in self._splitter.feed(body)])

    def on_message_complete(self) -> None:
        if self._transport is not None and not self._parser.should_keep_alive():
            self._transport.close()
        if self._waiter is not None and not self._waiter.done():
            status = self._parser.get_status_code()
            body = b"".join(self._body)
            self._waiter.set_result(
                Response(status, self._started, self._now, body, self._events, self._first_body)
            )


class Client:
    """Sends requests to one server over a pool of keep-alive connections, one per request in flight.

    `base_url` may omit a final `/v1`; paths given to `post` are relative to it. With `idempotent`, each
    request has an Idempotency-Key of its own.
    """

    def __init__(self, base_url: str, api_key: str | None = None, *, idempotent: bool = False) -> None:
        url = urlsplit(base_url if "://" in base_url else f"http://{base_url}")
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"not an http:// or https:// address: {base_url}")
        self._tls = url.scheme == "https"
        self._address = (url.hostname, url.port or (443 if self._tls else 80))
        self._prefix = url.path.rstrip("/") or "/v1"
        headers = [f"Host: {url.netloc.rpartition('@')[2]}"]
        if api_key:
            headers.append(f"Authorization: Bearer {api_key}")
        self._headers = "\r\n".join(headers)
        self._idempotent = idempotent
        self._idle: list[_Connection] = []

    async def post(self, path: str, body: bytes, deadline: float, content_type: str = JSON_TYPE) -> Response:
        """Send a body and read the complete response, within `deadline` seconds.

        Raises a ClientError; HttpError for a status of 400 or more.
        """
        described = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}"
        if self._idempotent:
            described += f"\r\nIdempotency-Key: {uuid.uuid4().hex}"
        return await self._complete(f"POST {self._prefix}{path}", f"{described}\r\n", body, deadline)

    async def request(self, method: str, path: str, body: bytes, deadline: float) -> Response:
        """Any method on a path of the server, which is not relative to the base URL, with a JSON body or
        none. Raises as `post` does."""
        described = f"Content-Type: {JSON_TYPE}\r\nContent-Length: {len(body)}\r\n" if body else ""
        return await self._complete(f"{method} {path}", described, body, deadline)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://{self._address[0]}:{self._address[1]}"

    async def _complete(self, line: str, described: str, body: bytes, deadline: float) -> Response:
        head = f"{line} HTTP/1.1\r\n{self._headers}\r\n{described}\r\n"
        try:
            async with asyncio.timeout(deadline):
                response = await self._exchange(head.encode("latin-1"), body)
        except TimeoutError:
            raise DeadlineExceeded(f"no complete response within {deadline:g} s") from None
        if response.status >= 400:
            raise HttpError(response.status, response.body)
        return response

    def web_socket_url(self, path: str) -> str:
        """Of an endpoint below the base URL."""
        return f"{'wss' if self._tls else 'ws'}://{self._address[0]}:{self._address[1]}{self._prefix}{path}"

    async def _exchange(self, head: bytes, body: bytes) -> Response:
        while self._idle:
            connection = self._idle.pop()
            if not connection.usable:
                continue
            try:
                return await self._on(connection, head, body)
            except ConnectionLost:
                if connection.answered:
                    raise
                # The server closed an idle connection as we wrote to it: it never saw the request.
        return await self._on(await self._connect(), head, body)

    async def _on(self, connection: _Connection, head: bytes, body: bytes) -> Response:
        try:
            response = await connection.exchange(head, body)
        except BaseException:
            connection.abort()  # the next request must not read the rest of this response
            raise
        self._idle.append(connection)
        return response

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(_Connection, *self._address, ssl=self._tls or None)
        except OSError as error:
            raise ConnectFailed(f"cannot connect to {self._address[0]}:{self._address[1]}: {error}") from None
        return connection

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().abort()
