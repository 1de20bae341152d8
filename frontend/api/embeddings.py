"""POST /v1/embeddings."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from typing import cast

import falcon
import falcon.asgi
import msgspec

from frontend.api.abilities import embedding_card
from frontend.api.area import App, Server
from frontend.api.body import decode, read_sized
from frontend.api.client import on_leave_of
from frontend.api.embedding_prompts import prompt_of
from frontend.api.json_size import JsonLimits
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.schema.common import refuse_unsupported
from frontend.api.schema.embeddings import (
    MAX_INPUTS,
    UNSUPPORTED,
    Embedding,
    EmbeddingList,
    EmbeddingRequest,
    Encoding,
)
from frontend.api.schema.vectors import VectorUsage
from frontend.api.served import model_of
from frontend.api.token_arrays import PLACEHOLDER, cut_out, token_ids_of
from frontend.errors import BadRequest, EngineFailed
from frontend.http.exchange import TokenCounts, exchange_of
from frontend.routing.router import Model, Router
from ipc.messages import Embed, Embedded, EmbedInputs, VectorCard

_FLOAT_BYTES = 4
# How many numbers are encoded before the event loop turns to others: about a millisecond of work.
_NUMBERS_IN_A_PART: dict[Encoding, int] = {"float": 8192, "base64": 131_072}

# 2048 inputs of a full window are millions of token ids, or of escaped characters.
_LIMITS = JsonLimits(separators=None, escapes=2_000_000)

_decoder = msgspec.json.Decoder(EmbeddingRequest)
_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.encode


class Embeddings:
    def __init__(self, router: Router, max_body_bytes: int) -> None:
        self._router = router
        self._max_body_bytes = max_body_bytes

    @describes(
        "Embeddings of texts",
        body=EmbeddingRequest,
        answer=EmbeddingList,
        errors=OF_ENGINES,
        example={"model": "minilm", "input": ["a cat", "a dog"]},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        data, array = cut_out(*await read_sized(request, self._max_body_bytes, _LIMITS), "input")
        body = decode(data, _decoder)
        refuse_unsupported(body, UNSUPPORTED)
        if array and body.input == PLACEHOLDER:
            inputs = await long_inputs_of(array)
        else:
            inputs = inputs_of(body.input)
        model = await model_of(self._router, body.model, request)
        answer = await ask_for_vectors(model, body, inputs, request)
        respond_in_parts(response, answer, encoded(answer, model.name, body.encoding), body.encoding)


async def ask_for_vectors(
    model: Model, body: EmbeddingRequest, inputs: EmbedInputs, request: falcon.asgi.Request
) -> Embedded:
    """One vector per input. Raises as `Model.ask`, and BadRequest for a model of another task."""
    card = embedding_card(model)
    work = work_of(body, card)
    answer = cast(Embedded, await model.ask(work, _msgpack(inputs), "input", on_leave_of(request)))
    exchange_of(request.scope).tokens = lambda: TokenCounts(answer.prompt_tokens)
    count = len(inputs.texts) or len(inputs.token_ids)
    if answer.shape != (count, body.dimensions or card.dimensions):
        raise EngineFailed("the engine returned vectors of another shape than asked for")
    return answer


def respond_in_parts(
    response: falcon.asgi.Response, answer: Embedded, parts: Iterator[bytes], encoding: Encoding
) -> None:
    """Respond with JSON that has been cut by `vectors_in_parts`."""
    response.content_type = falcon.MEDIA_JSON
    if math.prod(answer.shape) <= _NUMBERS_IN_A_PART[encoding]:
        response.data = b"".join(parts)
    else:
        response.stream = _giving_way(parts)


def inputs_of(given: str | list[str | int | list[int]]) -> EmbedInputs:
    """The inputs of a request, all texts or all token ids. Raises BadRequest."""
    if not given:
        raise BadRequest("input must not be empty", "input")
    if isinstance(given, str):
        return EmbedInputs(texts=[given])
    if all(isinstance(item, int) for item in given):
        return EmbedInputs(token_ids=[cast("list[int]", given)])
    if len(given) > MAX_INPUTS:
        raise BadRequest(f"input: at most {MAX_INPUTS} inputs, not {len(given)}", "input")
    if len({type(item) for item in given}) > 1:
        raise BadRequest("input must be a string, token ids, or a list of either", "input")
    if not all(given):
        index = next(index for index, item in enumerate(given) if not item)
        raise BadRequest(f"input[{index}] must not be empty", f"input[{index}]")
    if isinstance(given[0], str):
        return EmbedInputs(texts=cast("list[str]", given))
    return EmbedInputs(token_ids=cast("list[list[int]]", given))


async def long_inputs_of(array: bytes) -> EmbedInputs:
    """The inputs in a long array of token ids. Raises BadRequest.

    Each is encoded at once: as numbers, millions of them would take hundreds of megabytes.
    """
    encoded_inputs: list[msgspec.Raw] = []
    async for ids in token_ids_of(array, "input"):
        encoded_inputs.append(msgspec.Raw(_msgpack(ids)))
        if len(encoded_inputs) > MAX_INPUTS:
            raise BadRequest(f"input: at most {MAX_INPUTS} inputs", "input")
    return EmbedInputs(token_ids=cast("list[list[int]]", encoded_inputs))


def work_of(body: EmbeddingRequest, card: VectorCard) -> Embed:
    """What to ask of a model with this card. Raises BadRequest."""
    if body.dimensions is not None and body.dimensions > card.dimensions:
        raise BadRequest(f"dimensions must be at most the model's, {card.dimensions}", "dimensions")
    truncation = body.truncation(card.context_length, default=None)
    return Embed(0, b"", body.dimensions, prompt_of(body, card), truncation)


def encoded(answer: Embedded, model: str, encoding: Encoding) -> Iterator[bytes]:
    """The response's body in parts."""
    yield b'{"object":"list","data":['
    yield from vectors_in_parts(answer, encoding, lambda rows: _rows(answer, rows, encoding))
    usage = _json.encode(VectorUsage(answer.prompt_tokens, answer.prompt_tokens))
    yield b'],"model":%b,"usage":%b}' % (_json.encode(model), usage)


def vectors_in_parts(
    answer: Embedded, encoding: Encoding, encode: Callable[[range], bytes]
) -> Iterator[bytes]:
    """What `encode` makes of the rows, separated by commas, in parts that are each about a millisecond of
    work."""
    count, width = answer.shape
    rows = max(1, _NUMBERS_IN_A_PART[encoding] // width)
    for first in range(0, count, rows):
        part = encode(range(first, min(first + rows, count)))
        yield b"," + part if first else part


async def _giving_way(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Other requests have their turn between two parts. (A thread would hold the interpreter's lock while it
    encodes, and all parts at once would fill the memory.)"""
    for part in parts:
        yield part
        await asyncio.sleep(0)


def vectors_of(answer: Embedded, rows: range) -> "list[memoryview[float]]":
    """Some of the vectors, as 32-bit floats."""
    data, width = memoryview(cast(bytes, answer.payload)), answer.shape[1] * _FLOAT_BYTES
    return [data[row * width : (row + 1) * width].cast("f") for row in rows]


def _rows(answer: Embedded, rows: range, encoding: Encoding) -> bytes:
    """Some of the vectors as JSON, separated by commas."""
    vectors = zip(rows, vectors_of(answer, rows), strict=True)
    if encoding == "base64":
        bodies = [Embedding(index=row, embedding=vector.cast("B")) for row, vector in vectors]
    else:
        bodies = [Embedding(index=row, embedding=vector.tolist()) for row, vector in vectors]
    return _json.encode(bodies)[1:-1]


def install(app: App, server: Server) -> None:
    app.add_route("/v1/embeddings", Embeddings(server.router, server.max_body_bytes))
