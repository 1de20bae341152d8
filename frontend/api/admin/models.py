"""GET /admin/models and /admin/models/{name}; POST /admin/models/load, unload and pin."""

import contextlib
from typing import Annotated

import falcon.asgi
import msgspec
from msgspec import Meta

from frontend.access.sight import sight
from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.client import while_there
from frontend.api.generating import respond_json
from frontend.api.local_paths import refuse_local_path
from frontend.api.openapi.operation import CHANGES, describes
from frontend.api.schema.common import ModelName
from frontend.errors import ModelNotFound
from frontend.http.exchange import exchange_of
from frontend.library import Library, ModelStatus
from frontend.routing.router import Router

Seconds = Annotated[float, Meta(ge=-1_000_000_000, le=1_000_000_000)]


class ModelNamed(msgspec.Struct, forbid_unknown_fields=True):
    model: ModelName


class LoadRequest(msgspec.Struct, forbid_unknown_fields=True):
    model: ModelName
    keep_alive: Seconds | None = None  # 0: until it is idle; negative: for ever; null: as configured


class PinRequest(msgspec.Struct, forbid_unknown_fields=True):
    model: ModelName
    pinned: bool


class StatusList(msgspec.Struct):
    models: list[ModelStatus]


_named = msgspec.json.Decoder(ModelNamed)
_load = msgspec.json.Decoder(LoadRequest)
_pin = msgspec.json.Decoder(PinRequest)


class AdminModels:
    """/admin/models, /admin/models/{name} (suffix `one`), and what can be done with a model. Every answer has
    the status of the model as it is then."""

    def __init__(self, router: Router, library: Library, max_body_bytes: int) -> None:
        self._router = router
        self._library = library
        self._max_body_bytes = max_body_bytes

    @describes("The models and their state", answer=StatusList)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        respond_json(response, StatusList(self._library.statuses()))

    @describes("One model and its state", answer=ModelStatus, errors=(404,))
    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, model: str
    ) -> None:
        respond_json(response, self._library.status(self._name(model)))

    @describes(
        "Load a model",
        body=LoadRequest,
        answer=ModelStatus,
        errors=(*CHANGES, 422, 500, 504),
        example={"model": "smollm2", "keep_alive": 60},
    )
    async def on_post_load(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Answers once the model is ready."""
        body, _ = await read_json(request, self._max_body_bytes, _load)
        name = await self._served_or_stored(body.model, request)
        await while_there(self._library.load(name, body.keep_alive), request)
        respond_json(response, self._library.status(name))

    @describes(
        "Unload a model",
        body=ModelNamed,
        answer=ModelStatus,
        errors=(*CHANGES, 422, 500, 504),
        example={"model": "smollm2"},
    )
    async def on_post_unload(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Answers once the model has finished what ran and its processes are gone."""
        body, _ = await read_json(request, self._max_body_bytes, _named)
        name = self._name(body.model, request)
        await while_there(self._library.unload(name), request)
        respond_json(response, self._library.status(name))

    @describes(
        "Keep a model loaded, or no longer",
        body=PinRequest,
        answer=ModelStatus,
        errors=CHANGES,
        example={"model": "smollm2", "pinned": False},
    )
    async def on_post_pin(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, _ = await read_json(request, self._max_body_bytes, _pin)
        name = self._name(body.model, request)
        self._library.pin(name, body.pinned)
        respond_json(response, self._library.status(name))

    async def _served_or_stored(self, name: str, request: falcon.asgi.Request) -> str:
        """A model of the store is served from now on, also by a server that was to serve others."""
        try:
            return self._name(name, request)
        except ModelNotFound:
            with contextlib.suppress(ModelNotFound):
                if not sight().has(name):
                    raise
                return (await self._library.add(name)).name
            raise

    def _name(self, name: str, request: falcon.asgi.Request | None = None) -> str:
        """The name of the served model. Raises BadRequest or ModelNotFound."""
        if request is not None:
            refuse_local_path(name, "model")
            exchange_of(request.scope).model = name
        return self._router.resolve(name, key="").model


def install(app: App, server: Server) -> None:
    models = AdminModels(server.router, server.library, server.max_body_bytes)
    app.add_route("/admin/models", models)
    app.add_route("/admin/models/{model:path}", models, suffix="one")
    app.add_route("/admin/models/load", models, suffix="load")
    app.add_route("/admin/models/unload", models, suffix="unload")
    app.add_route("/admin/models/pin", models, suffix="pin")
