"""POST /admin/reload: follow the settings as they are now, as SIGHUP does."""

import falcon.asgi

from frontend.access.sight import sight
from frontend.api.area import App, Control, Server
from frontend.api.generating import respond_json
from frontend.api.openapi.operation import CHANGES, describes
from frontend.config import ConfigError
from frontend.errors import BadRequest, Conflict
from frontend.models.errors import ModelError
from frontend.reload.plan import ReloadPlan


class Reload:
    def __init__(self, control: Control) -> None:
        self._control = control

    @describes("Follow the settings as they are now", answer=ReloadPlan, errors=CHANGES)
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Answers what changes, once that has begun. A client that leaves does not stop it."""
        if self._control.reload is None:
            raise Conflict("this server was not started from settings that can be read again")
        try:
            plan = await self._control.reload()
        except (ConfigError, ModelError) as error:
            raise BadRequest(f"nothing was changed: {error}") from None
        respond_json(response, plan.visible(sight().has))


def install(app: App, server: Server) -> None:
    app.add_route("/admin/reload", Reload(server.control))
