"""GET /admin/events: the state of models and hosts now and every change of it, as server-sent events.

`event: model` has a JSON object with `at` in Unix seconds, `name`, and `status` as in GET /admin/models, or
null once the model is no longer served. `event: host` has a host as in GET /admin/hosts, and
`event: incident` a new one as in GET /admin/incidents. Silence is filled by the layer `http.keep_alive`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

import falcon.asgi
import msgspec

from frontend.access.sight import sight
from frontend.api.admin.hosts import HostStatus, statuses
from frontend.api.area import App, Control, Server
from frontend.api.client import on_leave_of
from frontend.api.openapi.operation import describes
from frontend.errors import Overloaded
from frontend.http.exchange import exchange_of
from frontend.library import Library, ModelEvent
from frontend.observability.incidents import Incident
from frontend.routing.router import Router

MOST_LISTENERS = 64
_RETRY_SECONDS = 10


class Events:
    def __init__(self, library: Library, router: Router, control: Control) -> None:
        self._library = library
        self._router = router
        self._control = control
        self._listeners = 0

    @describes(
        "The state of models and hosts now and every change of it", events=ModelEvent | HostStatus | Incident
    )
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Until the client leaves or the server stops."""
        if self._listeners >= MOST_LISTENERS:
            raise Overloaded(f"there are already {MOST_LISTENERS} listeners", retry_after=_RETRY_SECONDS)
        exchange_of(request.scope).stream = True
        left = asyncio.Event()
        on_leave_of(request)(left.set)
        response.content_type = "text/event-stream"
        response.set_header("Cache-Control", "no-cache")
        response.set_header("X-Accel-Buffering", "no")
        response.stream = self._events(left)

    async def _events(self, left: asyncio.Event) -> AsyncIterator[bytes]:
        changes = cast("AsyncGenerator[ModelEvent, None]", self._library.events())
        change = asyncio.ensure_future(anext(changes))
        notices = self._control.notices.follow()
        notice = asyncio.ensure_future(anext(notices))
        ends = [asyncio.ensure_future(event.wait()) for event in (left, self._control.stopping)]
        self._listeners += 1
        try:
            await asyncio.sleep(0)  # from here on no change is missed
            for status in self._library.statuses():
                yield encoded("model", ModelEvent(at=time.time(), name=status.name, status=status))
            for host in statuses(self._router, self._control.incidents):
                yield encoded("host", host)
            while not any(end.done() for end in ends):
                await asyncio.wait([change, notice, *ends], return_when=asyncio.FIRST_COMPLETED)
                if change.done():
                    yield encoded("model", change.result())
                    change = asyncio.ensure_future(anext(changes))
                if notice.done():
                    if sight().has(getattr(notice.result().about, "model", "")):
                        yield encoded(notice.result().kind, notice.result().about)
                    notice = asyncio.ensure_future(anext(notices))
        finally:
            self._listeners -= 1
            for task in (change, notice, *ends):
                task.cancel()
            await asyncio.wait([change, notice])
            await changes.aclose()
            await notices.aclose()


def encoded(kind: str, about: msgspec.Struct) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode(about))


def install(app: App, server: Server) -> None:
    app.add_route("/admin/events", Events(server.library, server.router, server.control))
