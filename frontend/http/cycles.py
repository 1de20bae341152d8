"""uvicorn's cycle of request and response, with other ends."""

from typing import cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from frontend.http.asgi import Headers


class LingeringCycle(RequestResponseCycle):
    """Keeps a connection that is to be closed open for as long as its request is still arriving.

    The kernel resets a connection that is closed with unread input, and the client might never see the
    answer. The protocol closes it (see `lingers`).
    """

    lingers = False

    @classmethod
    def become(cls, cycle: RequestResponseCycle) -> None:
        """Change a cycle that has not begun: uvicorn's protocol does not let its class be chosen."""
        cycle.__class__ = cls

    async def send(self, message: ASGISendEvent) -> None:
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and self.more_body and not self.keep_alive:
            self.lingers = self.keep_alive = True
        await super().send(message)


class CloseDelimitedCycle(LingeringCycle):
    """Responses to HTTP/1.0, which knows no chunks: one without a length ends where the connection does."""

    _until_close = False

    @classmethod
    def become(cls, cycle: RequestResponseCycle) -> None:
        super().become(cycle)
        cycle.waiting_for_100_continue = False  # HTTP/1.0 does not know that either

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start":
            headers = cast(Headers, message.get("headers", []))
            if all(name.lower() != b"content-length" for name, _ in headers):
                self._until_close = True
                self.chunked_encoding = False
        elif message["type"] == "http.response.body" and self._until_close:
            self.expected_content_length = len(message.get("body", b""))  # of this part
        await super().send(message)
