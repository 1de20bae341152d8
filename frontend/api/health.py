"""GET /health (the frontend lives), /ready (it can serve) and /metrics."""

import falcon
import falcon.asgi
import msgspec

from frontend.observability.metrics import CONTENT_TYPE, Metrics
from frontend.routing.router import Router
from frontend.supervision.supervisor import Supervisor


class ReplicaHealth(msgspec.Struct):
    replica: int
    state: str
    device: str
    pid: int | None
    restarts: int
    reason: str | None  # of the latest death
    load_seconds: float | None


class ModelHealth(msgspec.Struct):
    id: str
    ready: bool
    replicas: list[ReplicaHealth]


class Readiness(msgspec.Struct):
    ready: bool
    models: list[ModelHealth]


class Health:
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        response.content_type = falcon.MEDIA_JSON
        response.data = b'{"status":"ok"}'

    on_head = on_get  # what `wget --spider` sends


class Ready:
    """200 once requests are accepted for at least one model, or for the model asked for; else 503."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        models = [model_health(self._router, model) for model in self._router.models]
        ready = not self._router.draining and any(model.ready for model in models)
        _answer(response, ready, Readiness(ready, models))

    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, model: str
    ) -> None:
        health = model_health(self._router, model)
        _answer(response, health.ready and not self._router.draining, health)

    on_head, on_head_one = on_get, on_get_one


class MetricsPage:
    def __init__(self, router: Router, metrics: Metrics) -> None:
        self._router = router
        self._metrics = metrics

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        self._router.measure()
        response.content_type = CONTENT_TYPE
        response.data = self._metrics.render()


def model_health(router: Router, model: str) -> ModelHealth:
    """Raises ModelNotFound."""
    supervisors = router.supervisors_of(model)
    ready = any(supervisor.ready for supervisor in supervisors)
    return ModelHealth(model, ready, [_replica_health(supervisor) for supervisor in supervisors])


def _replica_health(supervisor: Supervisor) -> ReplicaHealth:
    return ReplicaHealth(
        replica=supervisor.number,
        state=supervisor.life.state.value,
        device=supervisor.options.launch.device,
        pid=supervisor.pid,
        restarts=supervisor.restarts,
        reason=supervisor.life.reason,
        load_seconds=supervisor.card.load_seconds if supervisor.card else None,
    )


def _answer(response: falcon.asgi.Response, ready: bool, body: msgspec.Struct) -> None:
    response.status = 200 if ready else 503
    response.content_type = falcon.MEDIA_JSON
    response.data = msgspec.json.encode(body)
