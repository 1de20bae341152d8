"""GET /v1/models and /v1/models/{id}."""

import falcon
import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.routing.route import Route
from frontend.routing.router import Router

OWNER = "nacelle"


class ModelBody(msgspec.Struct, kw_only=True):
    id: str
    object: str = "model"
    created: int
    owned_by: str = OWNER
    max_model_len: int | None  # tokens of context, once a replica has told


class ModelList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[ModelBody]


class Models:
    def __init__(self, router: Router, created: int) -> None:
        """`created` is when the server started, in Unix seconds."""
        self._router = router
        self._created = created

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        bodies = [self._body(route) for route in self._router.routes.values()]
        _answer(response, ModelList(data=bodies))

    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, model: str
    ) -> None:
        _answer(response, self._body(self._router.route(model)))

    on_head, on_head_one = on_get, on_get_one

    def _body(self, route: Route) -> ModelBody:
        cards = [card for host in route.hosts if (card := host.card) is not None]
        if not cards and route.last_card is not None:  # it is not loaded now
            cards = [route.last_card]
        lengths = [card.context_length for card in cards]
        return ModelBody(id=route.name, created=self._created, max_model_len=min(lengths, default=None))


def _answer(response: falcon.asgi.Response, body: msgspec.Struct) -> None:
    response.content_type = falcon.MEDIA_JSON
    response.data = msgspec.json.encode(body)


def install(app: App, server: Server) -> None:
    models = Models(server.router, server.started)
    app.add_route("/v1/models", models)
    app.add_route("/v1/models/{model:path}", models, suffix="one")
