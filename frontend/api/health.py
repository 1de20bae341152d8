"""GET /health (the frontend lives), /ready (it can serve) and /metrics.

Probes carry no key. On a server with keys they are told whether it is ready, and nothing of its models.
"""

from contextlib import nullcontext
from typing import cast, get_args

import falcon
import falcon.asgi
import msgspec
from msgspec import UNSET, UnsetType

from frontend.access.sight import asking, sight
from frontend.api.area import App, Server
from frontend.api.openapi.operation import describes
from frontend.caller import ANYBODY
from frontend.errors import BadRequest, ModelNotFound
from frontend.library import Library
from frontend.observability.metrics import CONTENT_TYPE, Metrics, Names
from frontend.observability.vllm import CacheConfig
from frontend.routing.replica import Host, answers
from frontend.routing.router import Router
from ipc.kv_cache import block_tokens
from ipc.messages import TextCard


class ReplicaHealth(msgspec.Struct):
    replica: int
    state: str
    device: str
    pid: int | None
    restarts: int
    reason: str | None  # of the latest death
    load_seconds: float | None
    properties: dict[str, str]  # OpenVINO properties that the host chose itself


class ModelHealth(msgspec.Struct):
    id: str
    ready: bool
    state: str  # as in frontend.library.ModelStatus
    on_demand: bool  # it is not loaded, and will be with the next request for it
    replicas: list[ReplicaHealth]


class Readiness(msgspec.Struct):
    ready: bool
    models: list[ModelHealth] | UnsetType = UNSET  # not for strangers


class HealthBody(msgspec.Struct):
    status: str


class Health:
    @describes("Whether the server lives", answer=HealthBody, is_open=True)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        response.content_type = falcon.MEDIA_JSON
        response.data = msgspec.json.encode(HealthBody("ok"))

    on_head = on_get  # what `wget --spider` sends


class Ready:
    """200 once requests are accepted for at least one model, or for the model asked for; else 503.

    A model that is loaded on demand accepts requests at any time, unless its last load failed.
    """

    def __init__(self, router: Router, library: Library) -> None:
        self._router = router
        self._library = library

    @describes("Whether requests are accepted", answer=Readiness, other={503: Readiness}, is_open=True)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        is_strangers = sight().is_strangers
        with asking(ANYBODY) if is_strangers else nullcontext():
            models = [model_health(self._router, self._library, model) for model in self._visible]
        ready = any(map(self._accepts, models))
        _answer(response, ready, Readiness(ready, UNSET if is_strangers else models))

    @describes(
        "Whether requests to one model are accepted",
        answer=ModelHealth | Readiness,
        other={503: ModelHealth | Readiness},
        errors=(404,),
        is_open=True,
    )
    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, model: str
    ) -> None:
        if sight().is_strangers:
            ready = self._is_ready(model)
            _answer(response, ready, Readiness(ready))
            return
        health = model_health(self._router, self._library, model)
        _answer(response, self._accepts(health), health)

    on_head, on_head_one = on_get, on_get_one

    def _is_ready(self, model: str) -> bool:
        """For strangers. Raises ModelNotFound, which names no others."""
        with asking(ANYBODY):
            try:
                return self._accepts(model_health(self._router, self._library, model))
            except ModelNotFound:
                raise ModelNotFound("there is no such model", "model") from None

    def _accepts(self, model: ModelHealth) -> bool:
        return (model.ready or model.on_demand) and not self._router.draining

    @property
    def _visible(self) -> list[str]:
        return [route.name for route in self._router.visible_routes]


def _names(given: str | None) -> Names:
    """Whose metrics are asked for. Raises BadRequest."""
    if given not in (None, *get_args(Names)):
        raise BadRequest(f"names: must be one of {', '.join(get_args(Names))}", "names")
    return cast(Names, given or "all")


class MetricsPage:
    def __init__(self, router: Router, metrics: Metrics) -> None:
        self._router = router
        self._metrics = metrics

    @describes("Prometheus metrics", media=("text/plain",))
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Series of the models that the caller may use, and those that are of no model."""
        self._router.measure()
        for route in self._router.routes.values():
            if isinstance(route.last_card, TextCard) and route.hosts:
                block = block_tokens(route.hosts[0].device)
                cache = CacheConfig(block, route.last_card.kv_cache_tokens // block)
                self._metrics.of_model(route.name).kv_cache(cache)
        response.content_type = CONTENT_TYPE
        response.data = self._metrics.render(
            _names(request.get_param("names")), None if sight().is_whole else sight().has
        )


def model_health(router: Router, library: Library, model: str) -> ModelHealth:
    """Raises ModelNotFound."""
    hosts = router.route(model).hosts
    return ModelHealth(
        model,
        any(map(answers, hosts)),
        library.status(model).state,
        library.is_on_demand(model),
        [_replica_health(host) for host in hosts],
    )


def _replica_health(host: Host) -> ReplicaHealth:
    return ReplicaHealth(
        replica=host.number,
        state=host.life.state.value,
        device=host.device,
        pid=host.pid,
        restarts=host.restarts,
        reason=host.life.reason,
        load_seconds=host.card.load_seconds if host.card else None,
        properties=host.card.properties if host.card else {},
    )


def _answer(response: falcon.asgi.Response, ready: bool, body: msgspec.Struct) -> None:
    response.status = 200 if ready else 503
    response.content_type = falcon.MEDIA_JSON
    response.data = msgspec.json.encode(body)


def install(app: App, server: Server) -> None:
    ready = Ready(server.router, server.library)
    app.add_route("/health", Health())
    app.add_route("/ready", ready)
    app.add_route("/ready/{model:path}", ready, suffix="one")
    app.add_route("/metrics", MetricsPage(server.router, server.metrics))
