"""What the tests of embeddings and of reranking share: names, requests, and a server under load."""

import base64
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from bench.workload import text_prompt
from tests import exact
from tests.e2e.serving import Serving

EMBEDDER, PROMPTED, RERANKER, CAUSAL, CHAT = "minilm", "e5", "reranker", "causal", "chat"
WIDTH = 384  # of MiniLM's vectors
TOLERANCE = 1e-5  # between vectors: the other texts of a batch change a number by 1e-7
F32 = exact.as_options(exact.F32)

Vectors = list[list[float]]


def texts(count: int, words: int = 8, seed: int = 1) -> list[str]:
    return [text_prompt(seed, index, words) for index in range(count)]


def embed(server: Serving, given: Any, **fields: Any) -> httpx.Response:
    return server.http.post("/v1/embeddings", json={"model": EMBEDDER, "input": given} | fields, timeout=240)


def vectors_of(answer: httpx.Response) -> Vectors:
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return [numbers(item["embedding"]) for item in data]


def numbers(embedding: list[float] | str) -> list[float]:
    if isinstance(embedding, list):
        return embedding
    return list(memoryview(base64.b64decode(embedding)).cast("f"))


def rerank(server: Serving, query: str, documents: Sequence[Any], **fields: Any) -> httpx.Response:
    body = {"model": RERANKER, "query": query, "documents": documents} | fields
    return server.http.post("/v1/rerank", json=body, timeout=240)


def scores_of(answer: httpx.Response) -> list[float]:
    """By document."""
    assert answer.status_code == 200, answer.text
    found = {result["index"]: result["relevance_score"] for result in answer.json()["results"]}
    return [found[index] for index in range(len(found))]


def assert_close(found: Vectors, expected: Vectors, tolerance: float = TOLERANCE) -> None:
    assert [len(row) for row in found] == [len(row) for row in expected]
    assert all(math.dist(one, other) <= tolerance for one, other in zip(found, expected, strict=True))


def cosine(one: list[float], other: list[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def at_once(calls: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(calls)
