"""Requests for embeddings and for reranking: what a benchmark asks, and what an answer says."""

import base64
import math
from itertools import count
from random import Random
from typing import Any, Literal

import msgspec

from bench.client import Response
from bench.errors import BadAnswer
from bench.stats import RequestRecord
from bench.workload import poisson_arrivals, text_prompt

VectorTask = Literal["embeddings", "rerank"]

PATHS: dict[VectorTask, str] = {"embeddings": "/embeddings", "rerank": "/rerank"}
_QUERY_WORDS = 8
_LONGEST = 4  # times the median


class VectorWorkload(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run's requests. `concurrency` closes the loop; `request_rate` (per second) opens it instead.

    Inputs are the texts of an embedding request, or the documents of a rerank request, which has a query of
    8 words besides. Their lengths are distributed log-normally, clipped at four times the median.
    """

    task: VectorTask
    requests: int
    inputs: int  # of each request
    prompt_words: int  # of an input, the median; about one token each
    seed: int
    spread: float = 0.0  # standard deviation of the logarithm of the length; 0: all are equally long
    concurrency: int = 1
    request_rate: float | None = None
    encoding: Literal["float", "base64"] = "base64"

    def inputs_by_request(self) -> list[list[str]]:
        lengths = Random(f"lengths {self.seed}")  # noqa: S311 - reproducible, not secret
        numbers = count()
        return [
            [text_prompt(self.seed, next(numbers), self._words(lengths)) for _ in range(self.inputs)]
            for _ in range(self.requests)
        ]

    def arrivals(self) -> list[float] | None:
        """Seconds after the start at which each request is sent; None for a closed loop."""
        rate = self.request_rate
        return None if rate is None else poisson_arrivals(self.seed, rate, self.requests)

    def bodies(self, model: str) -> list[bytes]:
        """The requests, encoded."""
        return [
            msgspec.json.encode({"model": model, **self._fields(index, texts)})
            for index, texts in enumerate(self.inputs_by_request())
        ]

    def _words(self, lengths: Random) -> int:
        drawn = lengths.lognormvariate(math.log(self.prompt_words), self.spread)
        return max(1, min(round(drawn), _LONGEST * self.prompt_words))

    def _fields(self, index: int, texts: list[str]) -> dict[str, Any]:
        if self.task == "embeddings":
            return {"input": texts, "encoding_format": self.encoding}
        query = text_prompt(self.seed, -1 - index, _QUERY_WORDS)
        return {"query": query, "documents": texts, "return_documents": False}


class _Embedding(msgspec.Struct, gc=False):
    index: int
    embedding: list[float] | str


class _Result(msgspec.Struct, gc=False):
    index: int
    relevance_score: float


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Answer(msgspec.Struct, gc=False):
    data: list[_Embedding] = []
    results: list[_Result] = []
    usage: _Usage | None = None


_decoder = msgspec.json.Decoder(_Answer)


def read_vectors(response: Response) -> list[list[float]]:
    """The vector of each input, or the score of each document, in the order of the request.

    Raises BadAnswer.
    """
    return _in_order(_decode(response))


def read_record(response: Response, inputs: int) -> RequestRecord:
    """The record of one answered request of so many inputs. Raises BadAnswer."""
    answer = _decode(response)
    vectors = _in_order(answer)
    if len(vectors) != inputs:
        raise BadAnswer("incomplete_answer", f"{len(vectors)} results for {inputs} inputs")
    if not all(vectors) or not all(math.isfinite(sum(vector)) for vector in vectors):
        raise BadAnswer("malformed_answer", "a vector is empty or not finite")
    usage = answer.usage or _Usage()
    tokens = usage.total_tokens if usage.prompt_tokens is None else usage.prompt_tokens
    return RequestRecord(response.started, response.finished, prompt_tokens=tokens, finish_reason="whole")


def _in_order(answer: _Answer) -> list[list[float]]:
    found = {item.index: _numbers(item.embedding) for item in answer.data}
    found |= {item.index: [item.relevance_score] for item in answer.results}
    if sorted(found) != list(range(len(found))):
        raise BadAnswer("malformed_answer", f"indexes {sorted(found)[:20]} are not 0, 1, 2, …")
    return [found[index] for index in range(len(found))]


def _decode(response: Response) -> _Answer:
    try:
        return _decoder.decode(response.body)
    except msgspec.DecodeError as error:
        raise BadAnswer("malformed_answer", f"{error}: {response.body[:200]!r}") from None


def _numbers(embedding: list[float] | str) -> list[float]:
    if isinstance(embedding, list):
        return embedding
    try:
        return list(memoryview(base64.b64decode(embedding, validate=True)).cast("f"))
    except (ValueError, TypeError) as error:
        raise BadAnswer("malformed_answer", f"not base64 of 32-bit floats: {error}") from None
