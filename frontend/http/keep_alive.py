"""Signs of life in event streams that are silent for a while.

Proxies take a silent connection for a dead one, for which a comment is enough. Agents count events alone, so
an endpoint names an event of its API instead (`exchange.heartbeat`).
"""

import asyncio

from frontend.http.asgi import Application, Message, Receive, Scope, Send, Writer, writer_of
from frontend.http.exchange import Exchange, exchange_of

SILENT_SECONDS = 8.0  # clients are promised a sign of life every 10
TICKS = 8  # in these seconds; a silence may be noticed one tick late
PING = b'event: ping\ndata: {"type":"ping"}\n\n'  # of Anthropic's API
_COMMENT = b": waiting\n\n"


class StreamKeepAlive:
    """Adds the exchange's heartbeats, or comments, to responses of the type text/event-stream.

    Such a response must be sent and written in whole events, so that a heartbeat may follow any part.
    """

    def __init__(self, app: Application, silent_seconds: float = SILENT_SECONDS) -> None:
        self._app = app
        self._silent_seconds = silent_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stream = _Stream(send, writer_of(scope), exchange_of(scope), self._silent_seconds)
        try:
            await self._app(scope, receive, stream.send)
        finally:
            stream.end()


class _Stream:
    """One response."""

    def __init__(self, send: Send, writer: Writer | None, exchange: Exchange, silent_seconds: float) -> None:
        self._send = send
        self._writer = writer
        self._exchange = exchange
        self._silent_seconds = silent_seconds
        self._sent = 0  # messages
        self._sending = False
        self._beating: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        self._sent += 1
        if message["type"] == "http.response.start":
            if dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream"):
                self._beating = asyncio.create_task(self._beat())
        elif not message.get("more_body", False):
            self.end()
        self._sending = True
        await self._send(message)
        self._sending = False

    def end(self) -> None:
        if self._beating is not None:
            self._beating.cancel()

    @property
    def _progress(self) -> tuple[int, int]:
        """Differs whenever something was sent or written."""
        return self._sent, self._writer.written if self._writer is not None else 0

    async def _beat(self) -> None:
        clock = asyncio.get_running_loop().time
        since, before = clock(), self._progress
        while True:
            await asyncio.sleep(self._silent_seconds / TICKS)
            if self._progress != before:
                since, before = clock(), self._progress
            elif clock() - since >= self._silent_seconds and self._takes_more:
                heartbeat = self._exchange.heartbeat
                await self._add(_COMMENT if heartbeat is None else heartbeat())
                since, before = clock(), self._progress

    @property
    def _takes_more(self) -> bool:
        """A client that reads too slowly has enough to read, and what waits to be sent to it comes first."""
        return not self._sending and not (self._writer is not None and self._writer.paused)

    async def _add(self, frame: bytes) -> None:
        if self._writer is not None:
            self._writer.write(frame)
        else:
            await self._send({"type": "http.response.body", "body": frame, "more_body": True})
