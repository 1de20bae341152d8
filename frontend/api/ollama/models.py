"""GET /api/tags and /api/ps, POST /api/show: the models that Ollama's clients can use."""

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.generating import respond_json
from frontend.api.ollama.details import (
    Described,
    Details,
    described,
    model_info,
    parameters_of,
)
from frontend.api.ollama.durations import timestamp
from frontend.api.ollama.names import route_of, tagged
from frontend.api.ollama.requests import ModelRequest
from frontend.api.openapi.operation import describes
from frontend.library import ModelStatus
from frontend.models.details import templates_of
from frontend.parsing import detect
from frontend.routing.route import Route
from ipc.chat_templates import ChatTemplates
from ipc.messages import TextCard

# Engines of models for which Ollama's API has no endpoint.
_OTHER_ENGINES = ("rerank", "transcription", "speech")
_LOADED = ("ready", "draining")
_FOR_EVER_SECONDS = 2**63 / 1e9  # Ollama's, some 292 years

_decoder = msgspec.json.Decoder(ModelRequest)


class TagBody(msgspec.Struct, kw_only=True):
    name: str
    model: str
    modified_at: str
    size: int  # bytes
    digest: str
    details: Details


class RunningBody(msgspec.Struct, kw_only=True):
    name: str
    model: str
    size: int  # bytes that its engine processes hold
    digest: str
    details: Details
    expires_at: str
    size_vram: int  # bytes of it on a device other than the CPU
    context_length: int


class TagList(msgspec.Struct):
    models: list[TagBody]


class RunningList(msgspec.Struct):
    models: list[RunningBody]


class ShowBody(msgspec.Struct, kw_only=True):
    license: str
    modelfile: str
    parameters: str
    template: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str


class _Models:
    def __init__(self, server: Server) -> None:
        self._router = server.router
        self._library = server.library
        self._started = timestamp(server.started)

    async def _described(self, names: Iterable[str]) -> list[Described]:
        """Reading files, although small ones, is not for the event loop."""
        folders = [(self._library.folder(name), name) for name in names]
        return await asyncio.to_thread(lambda: [described(folder, name) for folder, name in folders])


class Tags(_Models):
    @describes("The models that Ollama's clients can use", answer=TagList)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        served = [(name, status) for name in self._names() if usable(status := self._library.status(name))]
        models = await self._described(status.name for _, status in served)
        bodies = [
            TagBody(
                name=tagged(name),
                model=tagged(name),
                modified_at=model.created or self._started,
                size=status.size_bytes,
                digest=model.digest,
                details=model.details,
            )
            for (name, status), model in zip(served, models, strict=True)
        ]
        respond_json(response, TagList(bodies))

    on_head = on_get

    def _names(self) -> list[str]:
        """Of models, and other names for them."""
        return [*(route.name for route in self._router.visible_routes), *self._router.other_names]


class Running(_Models):
    @describes("The loaded models", answer=RunningList)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        loaded = [s for s in self._library.statuses() if s.state in _LOADED and usable(s)]
        models = await self._described(status.name for status in loaded)
        respond_json(response, RunningList(list(map(_running, loaded, models))))

    on_head = on_get


class Show(_Models):
    @describes(
        "Details of a model",
        body=ModelRequest,
        answer=ShowBody,
        errors=(404, 409, 422, 500, 504),
        example={"model": "smollm2"},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, _ = await read_json(request, _SHOW_BYTES, _decoder)
        route = route_of(self._router, body.wanted)
        status = self._library.status(route.name)
        folder = self._library.folder(route.name)
        [model] = await self._described([route.name])
        templates, parameters = await asyncio.to_thread(_texts, route, folder)
        respond_json(
            response,
            ShowBody(
                license=model.licence,
                modelfile=f"# {route.name}, as this server runs it\nFROM {route.name}\n",
                parameters=parameters,
                template=templates.default,
                details=model.details,
                model_info=model_info(model, status.context_length),
                capabilities=capabilities(route, status, templates),
                modified_at=model.created or self._started,
            ),
        )


_SHOW_BYTES = 64 * 1024


def usable(status: ModelStatus) -> bool:
    """Whether Ollama's API has an endpoint for the model."""
    return status.engine not in _OTHER_ENGINES


def capabilities(route: Route, status: ModelStatus, templates: ChatTemplates) -> list[str]:
    """What Ollama calls them. Tools work with every model that generates text, but those whose chat template
    knows them were trained for them."""
    if status.engine in _OTHER_ENGINES:
        return []
    if status.engine == "embeddings":
        return ["embedding"]
    formats = route.settings.tool_format, route.settings.reasoning_format
    dialect = detect(templates.default, *formats)
    with_tools = detect(templates.tool_use or templates.default, *formats)
    card = route.last_card
    sees = card.takes_images if isinstance(card, TextCard) else status.engine == "vision"
    found = {
        "completion": True,
        "tools": with_tools.tool_format,
        "thinking": dialect.reasoning,
        "vision": sees,
    }
    return [name for name, has in found.items() if has]


def _texts(route: Route, folder: str) -> tuple[ChatTemplates, str]:
    """The chat templates, and the generation defaults."""
    card = route.last_card
    if isinstance(card, TextCard):
        templates = ChatTemplates(card.chat_template, card.tool_template)
    else:
        templates = templates_of(Path(folder)) if folder else ChatTemplates()
    return templates, parameters_of(folder, route.settings.generation_defaults)


def _running(status: ModelStatus, model: Described) -> RunningBody:
    expires_at = time.time() + _FOR_EVER_SECONDS if status.expires_at is None else status.expires_at
    return RunningBody(
        name=tagged(status.name),
        model=tagged(status.name),
        size=status.memory_bytes,
        digest=model.digest,
        details=model.details,
        expires_at=timestamp(expires_at),
        size_vram=0 if status.device.startswith("CPU") else status.memory_bytes,
        context_length=status.context_length or 0,
    )


def install(app: App, server: Server) -> None:
    app.add_route("/api/tags", Tags(server))
    app.add_route("/api/ps", Running(server))
    app.add_route("/api/show", Show(server))
