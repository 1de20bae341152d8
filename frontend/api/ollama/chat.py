"""POST /api/chat and /api/generate."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import falcon.asgi
import msgspec

from frontend.api.abilities import text_card
from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.errors import renaming_params
from frontend.api.generating import off_loop, respond_json
from frontend.api.ollama.answers import Answer, Form, Lines, chat_reply, generate_reply, whole
from frontend.api.ollama.durations import Watch, timestamp
from frontend.api.ollama.keep_alive import keep_alive_seconds
from frontend.api.ollama.keeping import Keeper
from frontend.api.ollama.messages import image_characters
from frontend.api.ollama.names import model_of
from frontend.api.ollama.ndjson import NDJSON
from frontend.api.ollama.options import PARAMS
from frontend.api.ollama.replies import Reply
from frontend.api.ollama.requests import ChatRequest, GenerateRequest, GenerationRequest
from frontend.api.ollama.specs import turn_of_chat, turn_of_generate
from frontend.api.ollama.thinking import check_thinks
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.prompting import TurnSpec
from frontend.api.sse import Stream, respond_streaming
from frontend.api.turns import Turn, TurnEvent, begin_raw_turn, begin_turn
from frontend.http.client import client_of
from frontend.parsing import detect
from frontend.routing.router import Model

BodyT = TypeVar("BodyT", bound=GenerationRequest)
Begin = Callable[[Model, TurnSpec, falcon.asgi.Request], Awaitable[Turn]]

_decode_chat = msgspec.json.Decoder(ChatRequest)
_decode_generate = msgspec.json.Decoder(GenerateRequest)


class _Generating:
    """What both endpoints do alike."""

    def __init__(self, server: Server) -> None:
        self._router = server.router
        self._images = server.images
        self._keeper = Keeper(server)
        self._limit = server.max_body_bytes

    async def _read(
        self,
        request: falcon.asgi.Request,
        decoder: "msgspec.json.Decoder[BodyT]",
        carried: Callable[[BodyT], int],
    ) -> tuple[BodyT, bool]:
        return await read_json(request, self._limit, decoder, self._images.body_bytes(), carried)

    async def _answer(
        self,
        body: GenerationRequest,
        spec: TurnSpec,
        form: Form,
        begin: Begin,
        request: falcon.asgi.Request,
        response: falcon.asgi.Response,
    ) -> None:
        begun = self._begin(body, spec, form, begin, request)
        if body.streamed:
            await respond_streaming(request, response, _stream(begun), NDJSON)
        else:
            respond_json(response, await whole(await begun))

    async def _begin(
        self, body: GenerationRequest, spec: TurnSpec, form: Form, begin: Begin, request: falcon.asgi.Request
    ) -> Answer:
        keep_alive = keep_alive_seconds(body.keep_alive)
        watch = Watch(client_of(request.scope).age_seconds)
        was_loaded = self._keeper.is_loaded(body.wanted)
        model = await model_of(self._router, body.wanted, request)
        _check_thinking(body, model)
        await self._images.fill(spec, request)
        with renaming_params(PARAMS):
            turn = await begin(model, spec, request)
        watch.loaded(0.0 if was_loaded else self._keeper.load_seconds(model.name))
        self._keeper.keep(model.name, keep_alive)
        return Answer(turn, watch, partial(form, body.wanted))

    async def _only_load(
        self,
        body: GenerationRequest,
        form: Form,
        request: falcon.asgi.Request,
        response: falcon.asgi.Response,
    ) -> None:
        """An empty request loads the model; with a `keep_alive` of 0, it unloads it."""
        reason = await self._keeper.load_or_unload(body.wanted, keep_alive_seconds(body.keep_alive), request)
        reply = form(body.wanted, timestamp(), "", "", ())
        reply.end(reason)
        respond_json(response, reply)


class Chat(_Generating):
    @describes(
        "A chat turn",
        body=ChatRequest,
        answer=Reply,
        lines=Reply,
        errors=OF_ENGINES,
        example={
            "model": "smollm2",
            "messages": [{"role": "user", "content": "Say hello."}],
            "options": {"num_predict": 4},
            "stream": False,
        },
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, is_large = await self._read(request, _decode_chat, _carried_by_chat)
        if not body.messages:
            await self._only_load(body, chat_reply, request, response)
            return
        spec = await off_loop(body.format is not None or is_large, turn_of_chat, body)
        body.messages.clear()  # images are large
        await self._answer(body, spec, chat_reply, begin_turn, request, response)


class Generate(_Generating):
    @describes(
        "A text that continues a prompt",
        body=GenerateRequest,
        answer=Reply,
        lines=Reply,
        errors=OF_ENGINES,
        example={"model": "smollm2", "prompt": "Say hello.", "options": {"num_predict": 4}, "stream": False},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, is_large = await self._read(request, _decode_generate, _carried_by_generate)
        if not (body.prompt or body.images):
            await self._only_load(body, generate_reply, request, response)
            return
        spec = await off_loop(body.format is not None or is_large, turn_of_generate, body)
        body.images = None
        begin = partial(_begin_raw, body.prompt or "") if body.raw else begin_turn
        await self._answer(body, spec, generate_reply, begin, request, response)


async def _stream(begun: Awaitable[Answer]) -> Stream[tuple[int, TurnEvent]]:
    answer = await begun
    lines, turn = Lines(answer), answer.turn
    return Stream(turn, lines.encode, lines.ending, turn.close)


async def _begin_raw(text: str, model: Model, spec: TurnSpec, request: falcon.asgi.Request) -> Turn:
    return await begin_raw_turn(model, spec, text, request)


def _check_thinking(body: GenerationRequest, model: Model) -> None:
    """Raises BadRequest."""
    settings = model.settings
    template = text_card(model).chat_template
    dialect = detect(template, settings.tool_format, settings.reasoning_format)
    check_thinks(body.think, dialect.reasoning is not None, body.wanted)


def _carried_by_chat(body: ChatRequest) -> int:
    return sum(image_characters(message.images) for message in body.messages or ())


def _carried_by_generate(body: GenerateRequest) -> int:
    return image_characters(body.images)


def install(app: App, server: Server) -> None:
    app.add_route("/api/chat", Chat(server))
    app.add_route("/api/generate", Generate(server))
