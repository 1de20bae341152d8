"""What Ollama's API has and this server cannot do: each is refused with what to do instead."""

from typing import Any

import falcon.asgi

from frontend.api.area import App, Server
from frontend.api.openapi.operation import describes
from frontend.errors import BadRequest

_CREATE = (
    "models are not created over HTTP: run `nacelle pull` with a GGUF file or an OpenVINO folder, "
    "and set defaults with --generation-default"
)
_PUSH = "models are not pushed to a registry: copy the model's folder instead"
_BLOBS = "files are not taken over HTTP: run `nacelle pull` with the file on the server's machine"


class Refused:
    """Any method that Ollama has on the path."""

    def __init__(self, why: str) -> None:
        self._why = why

    @describes("Not supported: rejected with what to do instead")
    async def on_post(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, **params: Any
    ) -> None:
        raise BadRequest(self._why)

    on_head = on_post


def install(app: App, server: Server) -> None:
    app.add_route("/api/create", Refused(_CREATE))
    app.add_route("/api/push", Refused(_PUSH))
    app.add_route("/api/blobs/{digest}", Refused(_BLOBS))
