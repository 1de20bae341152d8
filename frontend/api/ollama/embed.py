"""POST /api/embed, and /api/embeddings, the form that it has replaced."""

from collections.abc import Iterator, Sequence

import falcon.asgi
import msgspec

from frontend.api.abilities import embedding_card
from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.embeddings import (
    ask_for_vectors,
    inputs_of,
    respond_in_parts,
    vectors_in_parts,
    vectors_of,
)
from frontend.api.generating import respond_json
from frontend.api.ollama.durations import Watch
from frontend.api.ollama.keep_alive import keep_alive_seconds
from frontend.api.ollama.keeping import Keeper
from frontend.api.ollama.names import model_of
from frontend.api.ollama.requests import EmbeddingsRequest, EmbedRequest, KeepingRequest
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.schema.embeddings import EmbeddingRequest
from frontend.http.client import client_of
from frontend.routing.router import Model
from ipc.messages import Embedded

_encode = msgspec.json.encode
_decode_embed = msgspec.json.Decoder(EmbedRequest)
_decode_embeddings = msgspec.json.Decoder(EmbeddingsRequest)


class EmbedReply(msgspec.Struct):
    model: str
    embeddings: list[list[float]]
    total_duration: int  # nanoseconds
    load_duration: int
    prompt_eval_count: int


class EmbeddingsReply(msgspec.Struct):
    embedding: Sequence[float]


class _Embedding:
    """What both endpoints do alike."""

    def __init__(self, server: Server) -> None:
        self._router = server.router
        self._keeper = Keeper(server)
        self._limit = server.max_body_bytes

    async def _model(self, body: KeepingRequest, request: falcon.asgi.Request) -> Model:
        model = await model_of(self._router, body.wanted, request)
        embedding_card(model)
        return model

    async def _only_load(self, body: KeepingRequest, request: falcon.asgi.Request) -> None:
        await self._keeper.load_or_unload(body.wanted, keep_alive_seconds(body.keep_alive), request)


class Embed(_Embedding):
    @describes(
        "Embeddings of texts",
        body=EmbedRequest,
        answer=EmbedReply,
        errors=OF_ENGINES,
        example={"model": "minilm", "input": ["a cat"]},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, _ = await read_json(request, self._limit, _decode_embed)
        keep_alive = keep_alive_seconds(body.keep_alive)
        if not body.input:
            await self._only_load(body, request)
            respond_json(response, EmbedReply(body.wanted, [], 1, 1, 0))
            return
        inputs = inputs_of([body.input] if isinstance(body.input, str) else list(body.input))
        watch = Watch(client_of(request.scope).age_seconds)
        was_loaded = self._keeper.is_loaded(body.wanted)
        model = await self._model(body, request)
        asked = EmbeddingRequest(
            model=model.name,
            input=[],
            dimensions=body.dimensions or None,
            truncate=body.truncate is not False,
        )
        answer = await ask_for_vectors(model, asked, inputs, request)
        watch.loaded(0.0 if was_loaded else self._keeper.load_seconds(model.name))
        self._keeper.keep(model.name, keep_alive)
        respond_in_parts(response, answer, _embed_parts(body.wanted, answer, watch), "float")


class Embeddings(_Embedding):
    @describes(
        "The embedding of a text, the older form",
        body=EmbeddingsRequest,
        answer=EmbeddingsReply,
        errors=OF_ENGINES,
        example={"model": "minilm", "prompt": "a cat"},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, _ = await read_json(request, self._limit, _decode_embeddings)
        keep_alive = keep_alive_seconds(body.keep_alive)
        if not body.prompt:
            await self._only_load(body, request)
            respond_json(response, EmbeddingsReply([]))
            return
        model = await self._model(body, request)
        asked = EmbeddingRequest(model=model.name, input=[], truncate=True)
        answer = await ask_for_vectors(model, asked, inputs_of(body.prompt), request)
        self._keeper.keep(model.name, keep_alive)
        respond_json(response, EmbeddingsReply(vectors_of(answer, range(1))[0].tolist()))


def _embed_parts(model: str, answer: Embedded, watch: Watch) -> Iterator[bytes]:
    """The response's body; what it reports of time is known before its vectors are encoded."""
    yield b'{"model":%b,"embeddings":[' % _encode(model)
    yield from vectors_in_parts(answer, "float", lambda rows: _rows(answer, rows))
    yield b'],"total_duration":%d,"load_duration":%d,"prompt_eval_count":%d}' % (
        watch.total,
        watch.load,
        answer.prompt_tokens,
    )


def _rows(answer: Embedded, rows: range) -> bytes:
    return b",".join(_encode(vector.tolist()) for vector in vectors_of(answer, rows))


def install(app: App, server: Server) -> None:
    app.add_route("/api/embed", Embed(server))
    app.add_route("/api/embeddings", Embeddings(server))
