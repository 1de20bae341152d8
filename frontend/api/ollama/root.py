"""GET / and GET /api/version: how clients find out that this is a server of Ollama's API."""

from importlib import metadata

import falcon
import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.openapi.operation import describes
from frontend.errors import NotFound

RUNNING = "Ollama is running"
# The release of Ollama whose API this is. Clients compare it with the releases that brought what they use.
API_VERSION = "0.13.0"


class VersionBody(msgspec.Struct):
    version: str
    nacelle: str


class Root:
    """Says so on the port for Ollama's clients, and elsewhere to whoever does not ask for a page."""

    def __init__(self, ollama_port: int | None) -> None:
        self._port = ollama_port

    @describes("Ollama's greeting", media=("text/plain",), errors=(404,))
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        server = request.scope.get("server") or (None, None)
        if asks_for_html(request.get_header("Accept")) and (self._port is None or server[1] != self._port):
            raise NotFound("there is no page at /; the API is under /v1 and /api")
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
    app.add_route("/", Root(server.ollama_port))
    app.add_route("/api/version", Version())
