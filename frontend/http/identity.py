"""The outermost layer: gives each request its id, which the response repeats in X-Request-ID and, where the
API is Anthropic's, in Request-ID.

X-Nacelle-Model names the model that answers, whatever name the client used for it.
"""

import re
import uuid
from collections.abc import Callable

from frontend.http.asgi import (
    Application,
    Message,
    Receive,
    Scope,
    Send,
    header,
    is_response_start,
    with_headers,
)
from frontend.http.error_body import form_path, is_anthropic
from frontend.http.exchange import Exchange, attach
from frontend.http.paths import canonical

_OURS = re.compile(r"req_([0-9a-f]{6})[0-9a-f]{26}")
_WELL_FORMED = re.compile(r"[\x21-\x7e]{1,128}")  # what is safe in a header and in a log line


def request_id(given: str | None) -> str:
    """The id that the client sent if it is well-formed, else a new one."""
    return given if given and _WELL_FORMED.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def short_id(request_id: str) -> str:
    """An id as people read it: the first digits of one of ours, and a client's own in full."""
    ours = _OURS.fullmatch(request_id)
    return ours[1] if ours else request_id


class Identity:
    """Adds an `Exchange` to the scope."""

    def __init__(self, app: Application, clock: Callable[[], float]) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        exchange = Exchange(request_id(header(scope, b"x-request-id")), self._clock())
        path = form_path(scope, canonical(scope["path"]))
        names = [b"x-request-id", *([b"request-id"] if is_anthropic(path) else [])]
        headers = [(name, exchange.request_id.encode()) for name in names]

        async def send_with_id(message: Message) -> None:
            if is_response_start(message):
                answered_by = (
                    [(b"x-nacelle-model", exchange.answered_by.encode())] if exchange.answered_by else []
                )
                message = with_headers(message, headers + answered_by)
            await send(message)

        await self._app(attach(scope, exchange), receive, send_with_id)
