"""Which models stay loaded: by `keep_alive`, and by requests that only load or unload."""

import falcon.asgi

from frontend.api.area import Server
from frontend.api.client import on_leave_of, while_there
from frontend.api.ollama.names import model_of, naming_missing
from frontend.errors import ModelNotFound


class Keeper:
    def __init__(self, server: Server) -> None:
        self._router = server.router
        self._library = server.library

    def keep(self, name: str, seconds: float | None) -> None:
        """For how long a served model stays loaded without work; None: as configured."""
        self._library.keep_alive(name, seconds)

    def is_loaded(self, name: str) -> bool:
        """False for one that is not served, which may be found later."""
        try:
            return any(host.ready for host in self._router.route(name).hosts)
        except ModelNotFound:
            return False

    def load_seconds(self, name: str) -> float | None:
        """How long the last load of a served model took; None: unknown."""
        return self._library.status(name).load_seconds

    async def load_or_unload(self, name: str, seconds: float | None, request: falcon.asgi.Request) -> str:
        """Wait until it is done. Returns Ollama's name for it. Raises ServerError or ClientGone."""
        if seconds == 0:
            with naming_missing(name):
                resolved = await self._router.resolve_or_find(name, on_leave_of(request))
            await while_there(self._library.let_go(resolved.model), request)
            return "unload"
        model = await model_of(self._router, name, request)
        await while_there(self._library.load(model.name, seconds), request)
        return "load"
