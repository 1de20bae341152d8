"""GET /v1/models and /v1/models/{id}."""

from collections.abc import Sequence

import falcon
import falcon.asgi
import msgspec
from msgspec import UNSET, UnsetType

from frontend.access.sight import sight
from frontend.api.anthropic.models import AnthropicModel, AnthropicModelList, anthropic_list, anthropic_model
from frontend.api.area import App, Server
from frontend.api.openapi.operation import describes
from frontend.http.error_body import speaks_anthropic
from frontend.routing.route import Route
from frontend.routing.router import Router

OWNER = "nacelle"


class ModelBody(msgspec.Struct, kw_only=True):
    id: str
    object: str = "model"
    created: int
    owned_by: str = OWNER
    max_model_len: int | None  # tokens of context; None until a replica was loaded
    root: str | UnsetType = UNSET  # the model that an alias names
    variants: dict[str, float] | UnsetType = UNSET  # models and weights that a name stands for


class ModelList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[ModelBody]


class Models:
    def __init__(self, router: Router, created: int) -> None:
        """`created` is when the server started, in Unix seconds."""
        self._router = router
        self._created = created

    @describes("The served models and other names of them", answer=ModelList | AnthropicModelList)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        names = [*self._router.served, *self._router.other_names]
        bodies = [body for name in names if (body := self._body(name)) is not None]
        if speaks_anthropic(request.scope):
            _answer(response, anthropic_list([_for_anthropic(body) for body in bodies]))
        else:
            _answer(response, ModelList(data=bodies))

    @describes("One model", answer=ModelBody | AnthropicModel, errors=(404,))
    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, model: str
    ) -> None:
        route = self._router.route(model)  # raises ModelNotFound
        body = self._body(model) or self._model(route)
        _answer(response, _for_anthropic(body) if speaks_anthropic(request.scope) else body)

    on_head, on_head_one = on_get, on_get_one

    def _body(self, name: str) -> ModelBody | None:
        """Of a model, an alias or a set of variants; None for another spelling, or if no model is served."""
        names, routes = self._router.names, self._router.routes
        if name in self._router.served:
            return self._model(routes[name])
        served = [routes[model] for model in self._router.models_behind(name)] if name in names.all else []
        if not served:
            return None
        lengths = [length for route in served if (length := context_length(route)) is not None]
        return ModelBody(
            id=name,
            created=self._created,
            max_model_len=min(lengths, default=None),
            root=served[0].name
            if name in names.aliases and len(served) == 1 and _is_known(served)
            else UNSET,
            variants=names.variants[name] if name in names.variants and _is_known(served) else UNSET,
        )

    def _model(self, route: Route) -> ModelBody:
        return ModelBody(id=route.name, created=self._created, max_model_len=context_length(route))


def _is_known(served: Sequence[Route]) -> bool:
    """Whether whoever asks may know these models by their own names."""
    return all(sight().has(route.name) for route in served)


def _for_anthropic(body: ModelBody) -> AnthropicModel:
    return anthropic_model(body.id, body.created, body.max_model_len)


def context_length(route: Route) -> int | None:
    """In tokens, as of the last load; None before the first."""
    cards = [card for host in route.hosts if (card := host.card) is not None]
    if not cards and route.last_card is not None:  # it is not loaded now
        cards = [route.last_card]
    return min((card.context_length for card in cards), default=None)


def _answer(response: falcon.asgi.Response, body: msgspec.Struct) -> None:
    response.content_type = falcon.MEDIA_JSON
    response.data = msgspec.json.encode(body)


def install(app: App, server: Server) -> None:
    models = Models(server.router, server.started)
    app.add_route("/v1/models", models)
    app.add_route("/v1/models/{model:path}", models, suffix="one")
