"""GET /admin/incidents, the latest first, and /admin/incidents/{id}."""

import falcon.asgi
import msgspec

from frontend.access.sight import sight
from frontend.api.area import App, Server
from frontend.api.generating import respond_json
from frontend.api.openapi.operation import describes
from frontend.errors import NotFound
from frontend.observability.incidents import Incident, Incidents
from frontend.shortened import shortened

_SHOWN_CHARACTERS = 60


class IncidentList(msgspec.Struct):
    incidents: list[Incident]


class IncidentResources:
    def __init__(self, incidents: Incidents) -> None:
        self._incidents = incidents

    @describes("Deaths of hosts", answer=IncidentList)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        respond_json(response, IncidentList([each for each in self._incidents if sight().has(each.model)]))

    @describes("One death of a host", answer=Incident, errors=(404,))
    async def on_get_one(self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str) -> None:
        incident = self._incidents.get(id)
        if incident is None or not sight().has(incident.model):
            raise NotFound(f"there is no incident {shortened(id, _SHOWN_CHARACTERS)!r}", "id")
        respond_json(response, incident)


def install(app: App, server: Server) -> None:
    resources = IncidentResources(server.control.incidents)
    app.add_route("/admin/incidents", resources)
    app.add_route("/admin/incidents/{id}", resources, suffix="one")
