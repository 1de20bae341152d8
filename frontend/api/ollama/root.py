"""GET / and GET /api/version: how clients find out that this is a server of Ollama's API.

Browsers get the page at `/`, except on the port that is for Ollama's clients.
"""

from importlib import metadata

import falcon
import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.openapi.operation import describes
from frontend.api.page import respond_file
from frontend.page import INDEX, File, load

RUNNING = "Ollama is running"
# The release of Ollama whose API this is. Clients compare it with the releases that brought what they use.
API_VERSION = "0.13.0"


class VersionBody(msgspec.Struct):
    version: str
    nacelle: str


class Root:
    """Says so on the port for Ollama's clients, and elsewhere to whoever does not ask for a page."""

    def __init__(self, ollama_port: int | None, page: File) -> None:
        self._port = ollama_port
        self._page = page

    @describes("Ollama's greeting, or the page for browsers", media=("text/plain", "text/html"), is_open=True)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        server = request.scope.get("server") or (None, None)
        response.set_header("Vary", "Accept")
        if asks_for_html(request.get_header("Accept")) and (self._port is None or server[1] != self._port):
            respond_file(request, response, self._page)
            return
        response.content_type = falcon.MEDIA_TEXT
        response.text = RUNNING

    on_head = on_get


class Version:
    def __init__(self) -> None:
        self._body = msgspec.json.encode(VersionBody(API_VERSION, metadata.version("nacelle-server")))

    @describes("The release of Ollama whose API this is", answer=VersionBody)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        response.content_type = falcon.MEDIA_JSON
        response.data = self._body

    on_head = on_get


def asks_for_html(accept: str | None) -> bool:
    """Whether an Accept header names HTML, as browsers' do."""
    return "text/html" in (accept or "").lower()


def install(app: App, server: Server) -> None:
    app.add_route("/", Root(server.ollama_port, load([INDEX])[INDEX]))
    app.add_route("/api/version", Version())
