"""GET /v1/status: how busy the server is, in FabricAI's form with more beside it, for anybody who may use it.

`queue_size`, `queue_max_size`, `active_requests` and `max_concurrent_requests` are that form.
"""

import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.generating import respond_json
from frontend.api.openapi.operation import describes
from frontend.library import ModelStatus
from frontend.observability.incidents import versions
from frontend.routing.replica import answers
from frontend.routing.route import LocalRoute, Route


class ModelBrief(msgspec.Struct):
    id: str
    state: str  # as in GET /admin/models
    running: int  # sequences
    queued: int
    slots: int  # sequences that its hosts take at once; 0 while it is not loaded


class WorkerBrief(msgspec.Struct):
    """A host."""

    model: str
    replica: int
    state: str
    device: str


class Status(msgspec.Struct, kw_only=True):
    status: str  # ok, or draining while the server shuts down
    version: str
    uptime_seconds: float
    queue_size: int  # sequences that wait
    queue_max_size: int  # that may
    active_requests: int  # sequences that hosts hold
    max_concurrent_requests: int  # that hosts take at once now
    models: list[ModelBrief]
    workers: list[WorkerBrief]


class StatusResource:
    def __init__(self, server: Server) -> None:
        self._server = server

    @describes("The state of the server in short", answer=Status)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Of the models that the caller may use."""
        router, library = self._server.router, self._server.library
        routes = router.visible_routes
        models = [_brief(library.status(route.name), route) for route in routes]
        body = Status(
            status="draining" if router.draining else "ok",
            version=versions()["nacelle"],
            uptime_seconds=round(self._server.control.tally.uptime_seconds, 1),
            queue_size=sum(model.queued for model in models),
            queue_max_size=sum(route.max_queue for route in routes if isinstance(route, LocalRoute)),
            active_requests=sum(model.running for model in models),
            max_concurrent_requests=sum(model.slots for model in models),
            models=models,
            workers=[
                WorkerBrief(route.name, host.number, host.life.state.value, host.device)
                for route in routes
                for host in route.hosts
            ],
        )
        respond_json(response, body)


def _brief(status: ModelStatus, route: Route) -> ModelBrief:
    slots = sum(host.card.slots for host in route.hosts if host.card is not None and answers(host))
    return ModelBrief(status.name, status.state, status.running, status.queued, slots)


def install(app: App, server: Server) -> None:
    app.add_route("/v1/status", StatusResource(server))
