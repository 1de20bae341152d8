"""GET /admin/refusals: requests that are refused because they kill hosts.

/admin/refusals/{id} exports one for a report, without its text; DELETE lets such requests pass again.
"""

import time
from collections.abc import Iterator
from typing import Any

import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.generating import respond_json
from frontend.api.openapi.operation import CHANGES, describes
from frontend.errors import NotFound
from frontend.observability.incidents import Incident, Incidents, versions
from frontend.observability.redaction import without_paths
from frontend.routing.refusals import Refusal
from frontend.routing.route import LocalRoute
from frontend.routing.router import Router
from frontend.shortened import shortened

_SHOWN_CHARACTERS = 60


class RefusalStatus(msgspec.Struct, kw_only=True):
    """Times are in Unix seconds."""

    id: str
    model: str
    reason: str
    since: float
    until: float
    task: str  # the kind of work: generate, embed, …
    body_bytes: int
    prompt_tokens: int | None
    done_units: int  # tokens, windows or sentences of its result, when it was blamed
    deaths: int  # of hosts that held it
    incident: str | None  # the id of the last of these


class Reproducer(RefusalStatus, kw_only=True):
    """What can be shared: with sizes in place of texts."""

    work: dict[str, Any]  # the message to the host
    versions: dict[str, str]
    incident_record: Incident | None


class RefusalList(msgspec.Struct):
    refusals: list[RefusalStatus]


class Released(msgspec.Struct):
    id: str
    released: bool = True


class RefusalResources:
    def __init__(self, router: Router, incidents: Incidents) -> None:
        self._router = router
        self._incidents = incidents

    @describes("Requests that are refused because they kill hosts", answer=RefusalList)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        found = [RefusalStatus(**_shown(route, refusal)) for route, refusal in self._all()]
        respond_json(response, RefusalList(found))

    @describes("What can be shared of a refused request", answer=Reproducer, errors=(404,))
    async def on_get_one(self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str) -> None:
        route, refusal = self._find(id)
        body = Reproducer(
            **_shown(route, refusal),
            work=refusal.work,
            versions=versions(),
            incident_record=self._incidents.get(refusal.incident) if refusal.incident else None,
        )
        respond_json(response, body)

    @describes("Let requests pass again", answer=Released, errors=CHANGES)
    async def on_delete_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str
    ) -> None:
        route, refusal = self._find(id)
        route.jobs.refusals.release(refusal.id)
        respond_json(response, Released(id))

    def _all(self) -> Iterator[tuple[LocalRoute, Refusal]]:
        for route in self._router.visible_routes:
            if isinstance(route, LocalRoute):
                for refusal in route.jobs.refusals:
                    yield route, refusal

    def _find(self, id: str) -> tuple[LocalRoute, Refusal]:
        """Raises NotFound."""
        found = next((one for one in self._all() if one[1].id == id), None)
        if found is None:
            raise NotFound(f"there is no refusal {shortened(id, _SHOWN_CHARACTERS)!r}", "id")
        return found


def _shown(route: LocalRoute, refusal: Refusal) -> dict[str, Any]:
    offset = time.time() - route.now()
    return {
        "id": refusal.id,
        "model": route.name,
        "reason": without_paths(refusal.why),
        "since": offset + refusal.since,
        "until": offset + refusal.until,
        "task": refusal.task,
        "body_bytes": refusal.body_bytes,
        "prompt_tokens": refusal.prompt_tokens,
        "done_units": refusal.done_units,
        "deaths": refusal.deaths,
        "incident": refusal.incident,
    }


def install(app: App, server: Server) -> None:
    resources = RefusalResources(server.router, server.control.incidents)
    app.add_route("/admin/refusals", resources)
    app.add_route("/admin/refusals/{id}", resources, suffix="one")
