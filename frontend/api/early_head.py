"""Lets the API refuse a large body by its head.

Falcon awaits the first part of a body before it calls anybody, and that invites a client that expects a
`100 Continue` to send all of it.
"""

from frontend.http.asgi import Application, Message, Receive, Scope, Send, header


class EarlyHead:
    """Requests whose head declares more than `max_bytes` reach the application before their body."""

    def __init__(self, app: Application, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_large = scope["type"] == "http" and _declared(scope) > self._max_bytes
        await self._app(scope, _AfterNothing(receive) if is_large else receive, send)


class _AfterNothing:
    """Begins with an empty part of the body."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._has_begun = False

    async def __call__(self) -> Message:
        if self._has_begun:
            return await self._receive()
        self._has_begun = True
        return {"type": "http.request", "body": b"", "more_body": True}


def _declared(scope: Scope) -> int:
    """The length of the body in bytes, as the head declares it; 0 if it does not."""
    length = header(scope, b"content-length") or ""
    return int(length) if length.isascii() and length.isdecimal() else 0
