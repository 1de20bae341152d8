"""Which models stay loaded: by `keep_alive`, and by requests that only load or unload."""

import falcon.asgi

from frontend.api.area import Server
from frontend.api.ollama.names import model_of


class Keeper:
    def __init__(self, server: Server) -> None:
        self._router = server.router

    def keep(self, name: str, seconds: float | None) -> None:
        """From the end of the requests that run; None: for as long as the server's setting says."""

    async def load_or_unload(self, name: str, seconds: float | None, request: falcon.asgi.Request) -> str:
        """Wait until it is done. Returns Ollama's name for what was done. Raises ServerError."""
        await model_of(self._router, name, request)
        return "load"
