"""Comments in event streams that are silent for a while: proxies take a silent connection for a dead one."""

import asyncio

from frontend.http.asgi import Application, Message, Receive, Scope, Send, Writer, writer_of

SILENT_SECONDS = 15.0  # nginx and load balancers give up after 60
_COMMENT = b": waiting\n\n"


class StreamKeepAlive:
    """Adds the comments to responses of the type text/event-stream.

    Such a response must be sent and written in whole events, so that a comment may follow any part.
    """

    def __init__(self, app: Application, silent_seconds: float = SILENT_SECONDS) -> None:
        self._app = app
        self._silent_seconds = silent_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stream = _Stream(send, writer_of(scope), self._silent_seconds)
        try:
            await self._app(scope, receive, stream.send)
        finally:
            stream.end()


class _Stream:
    """One response."""

    def __init__(self, send: Send, writer: Writer | None, silent_seconds: float) -> None:
        self._send = send
        self._writer = writer
        self._silent_seconds = silent_seconds
        self._sent = 0  # messages
        self._commenting: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        self._sent += 1
        if message["type"] == "http.response.start":
            if dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream"):
                self._commenting = asyncio.create_task(self._comment())
        elif not message.get("more_body", False):
            self.end()
        await self._send(message)

    def end(self) -> None:
        if self._commenting is not None:
            self._commenting.cancel()

    @property
    def _progress(self) -> tuple[int, int]:
        """Differs whenever something was sent or written."""
        return self._sent, self._writer.written if self._writer is not None else 0

    async def _comment(self) -> None:
        while True:
            before = self._progress
            await asyncio.sleep(self._silent_seconds)
            if self._progress != before:
                continue
            if self._writer is None:
                await self._send({"type": "http.response.body", "body": _COMMENT, "more_body": True})
            elif not self._writer.paused:  # or the client has enough to read
                self._writer.write(_COMMENT)
