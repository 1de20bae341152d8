"""GET /openapi.json, the description of this server's API, and /docs, the page that shows it."""

import asyncio
from collections.abc import Callable, Iterable

import falcon
import falcon.asgi
import msgspec

from frontend.api.area import App
from frontend.api.openapi.document import document_of
from frontend.api.openapi.routes import Route
from frontend.api.page import respond_file
from frontend.page import DOCS, File, load


class OpenApi:
    """Made at the first request for it, in a thread, since it takes some hundredths of a second."""

    def __init__(self, routes: Callable[[], Iterable[Route]]) -> None:
        self._routes = routes
        self._document: bytes | None = None

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        if self._document is None:
            self._document = await asyncio.to_thread(self._made)
        response.content_type = falcon.MEDIA_JSON
        response.data = self._document

    on_head = on_get

    def _made(self) -> bytes:
        return msgspec.json.encode(document_of(self._routes()))


class Docs:
    def __init__(self, page: File) -> None:
        self._page = page

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        respond_file(request, response, self._page)

    on_head = on_get


def install(app: App, routes: Callable[[], Iterable[Route]]) -> None:
    app.add_route("/openapi.json", OpenApi(routes))
    app.add_route("/docs", Docs(load([DOCS])[DOCS]))
