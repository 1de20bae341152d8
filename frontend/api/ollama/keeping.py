"""Which models stay loaded: by `keep_alive`, and by requests that only load or unload.

Only callers with the scope `admin` may decide that, since all callers share the memory. From others,
`keep_alive` is ignored rather than refused: many clients send it by default.
"""

import falcon.asgi

from frontend.access.sight import sight
from frontend.api.area import Server
from frontend.api.client import on_leave_of, while_there
from frontend.api.ollama.names import model_of, naming_missing
from frontend.errors import Forbidden, ModelNotFound


class Keeper:
    def __init__(self, server: Server) -> None:
        self._router = server.router
        self._library = server.library

    def keep(self, name: str, seconds: float | None) -> None:
        """For how long a served model stays loaded without work; None: as configured."""
        if may_keep():
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
        if seconds == 0 and not may_keep():
            raise Forbidden("only callers with the scope admin may unload models", "keep_alive")
        if seconds == 0:
            with naming_missing(name):
                resolved = await self._router.resolve_or_find(name, on_leave_of(request))
            await while_there(self._library.let_go(resolved.model), request)
            return "unload"
        model = await model_of(self._router, name, request)
        await while_there(self._library.load(model.name, seconds if may_keep() else None), request)
        return "load"


def may_keep() -> bool:
    """Whether whoever asks decides how long models stay loaded."""
    return "admin" in sight().caller.scopes
