"""Responses to HTTP/1.0, which knows no chunks: one without a length ends where the connection does."""

from typing import cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from frontend.http.asgi import Headers


class CloseDelimitedCycle(RequestResponseCycle):
    """uvicorn's cycle of request and response, without chunks. The connection is closed after it."""

    _until_close = False

    @classmethod
    def become(cls, cycle: RequestResponseCycle) -> None:
        """Change a cycle that has not begun: uvicorn's protocol does not let its class be chosen."""
        cycle.__class__ = cls
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
