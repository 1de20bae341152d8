"""Comments in event streams that say nothing for a while: proxies take a silent connection for a dead one."""

import asyncio

from frontend.api.client import Application, Message, Receive, Send

SILENT_SECONDS = 15.0  # nginx and load balancers give up after 60
_COMMENT: Message = {"type": "http.response.body", "body": b": waiting\n\n", "more_body": True}


class StreamKeepAlive:
    """ASGI middleware. It knows an event stream by its content type."""

    def __init__(self, app: Application, silent_seconds: float = SILENT_SECONDS) -> None:
        self._app = app
        self._silent_seconds = silent_seconds

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        stream = _Stream(send, self._silent_seconds)
        try:
            await self._app(scope, receive, stream.send)
        finally:
            stream.end()


class _Stream:
    """One response: each of its messages is whole events, so that a comment may go between any two."""

    def __init__(self, send: Send, silent_seconds: float) -> None:
        self._send = send
        self._silent_seconds = silent_seconds
        self._silent = False
        self._commenting: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        self._silent = False
        if message["type"] == "http.response.start":
            if dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream"):
                self._commenting = asyncio.create_task(self._comment())
        elif not message.get("more_body", False):
            self.end()
        await self._send(message)

    def end(self) -> None:
        if self._commenting is not None:
            self._commenting.cancel()

    async def _comment(self) -> None:
        while True:
            self._silent = True
            await asyncio.sleep(self._silent_seconds)
            if self._silent:
                await self._send(_COMMENT)
