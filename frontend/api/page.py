"""GET /page/{name}: the files of the page. The page itself is at `/`; see `ollama.root`."""

import falcon
import falcon.asgi

from frontend.api.area import App, Server
from frontend.errors import NotFound
from frontend.page import HEADERS, File, load


class PageFiles:
    def __init__(self, files: dict[str, File]) -> None:
        self._files = files

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response, name: str) -> None:
        if (file := self._files.get(name)) is None:
            raise NotFound("the page has no such file; open / in a browser")
        respond_file(request, response, file)

    on_head = on_get


def respond_file(request: falcon.asgi.Request, response: falcon.asgi.Response, file: File) -> None:
    """Answer with a file, or with 304 where the browser has it."""
    response.set_headers(HEADERS)
    response.etag = file.etag
    if any(tag == "*" or tag == file.etag for tag in request.if_none_match or ()):
        response.status = falcon.HTTP_304
        return
    response.content_type = file.media_type
    response.data = file.data


def install(app: App, server: Server) -> None:
    app.add_route("/page/{name}", PageFiles(load()))
