"""Asking a host under test for vectors and scores."""

from typing import Any, NamedTuple, TypeVar

import msgspec
import numpy as np

from host.vectors.request import FloatArray
from ipc.errors import RequestError
from ipc.messages import (
    Embed,
    Embedded,
    EmbedInputs,
    Failed,
    Launch,
    Rerank,
    Reranked,
    RerankInputs,
    Result,
    VectorOptions,
)
from tests.exact import F32
from tests.host.harness import HostUnderTest, launch_of

R = TypeVar("R", bound=Result)


class Answer(NamedTuple):
    values: FloatArray
    prompt_tokens: int


def vector_launch(path: object, engine: str = "embeddings", **changes: Any) -> Launch[VectorOptions]:
    """A launch that computes with 32 bits, in two streams; `changes` replace fields of it and of its
    options."""
    changes = {"options": VectorOptions(), "properties": F32, "threads": 0, **changes}
    return launch_of(str(path), engine=engine, **changes)


def start_embed(host: HostUnderTest, inputs: list[str] | EmbedInputs, **options: Any) -> int:
    given = inputs if isinstance(inputs, EmbedInputs) else EmbedInputs(texts=inputs)
    return host.send(Embed(0, msgspec.msgpack.encode(given), **options))


def embed(host: HostUnderTest, inputs: list[str] | EmbedInputs, **options: Any) -> Answer:
    """Vectors of shape [inputs, dimensions]; the request must not fail."""
    return vectors(host, start_embed(host, inputs, **options))


def vectors(host: HostUnderTest, request_id: int) -> Answer:
    return _answer(_result(host, Embedded, request_id))


def rerank(host: HostUnderTest, queries: str | list[str], documents: list[str], **options: Any) -> Answer:
    """Scores of shape [documents]; the request must not fail."""
    request_id = start_rerank(host, queries, documents, **options)
    return _answer(_result(host, Reranked, request_id))


def start_rerank(host: HostUnderTest, queries: str | list[str], documents: list[str], **options: Any) -> int:
    inputs = RerankInputs([queries] if isinstance(queries, str) else queries, documents)
    return host.send(Rerank(0, msgspec.msgpack.encode(inputs), **options))


def error_of(host: HostUnderTest, request_id: int) -> RequestError:
    return host.answer(Failed, request_id).error


def _result(host: HostUnderTest, kind: type[R], request_id: int) -> R:
    def ended() -> bool:
        return bool(host.outcomes[request_id].error) or any(
            isinstance(message, kind) and message.request_id == request_id for message in host.received
        )

    host.wait(ended)
    assert host.outcomes[request_id].error is None, host.outcomes[request_id].error
    return host.answer(kind, request_id)


def _answer(result: Embedded | Reranked) -> Answer:
    assert isinstance(result.payload, bytes)
    return Answer(np.frombuffer(result.payload, np.float32).reshape(result.shape), result.prompt_tokens)
