"""Reranking and scoring by the clients that people use.

The models are stand-ins: one for a cross-encoder, which ranks simple queries right and says nothing about the
quality of real ones, and one for a causal reranker, whose weights are random and whose scores mean nothing.
"""

import contextlib
import math
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cohere
import httpx
import pytest

from bench.chaos_trial import settings_file
from tests.e2e.serving import Serving, wait_for
from tests.e2e.vector_serving import CAUSAL, F32, RERANKER, assert_close, at_once, rerank, scores_of, texts

QUERY = "What is the capital of France?"
DOCUMENTS = [
    "Bananas are rich in potassium.",
    "Paris is the capital and largest city of France.",
    "The stock market fell sharply on Monday.",
]
BEST = 1


@pytest.fixture(scope="module")
def server(
    cross_encoder_ir: Path, causal_reranker_ir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    models = {RERANKER: cross_encoder_ir, CAUSAL: causal_reranker_ir}
    settings = tmp_path_factory.mktemp("settings") / "nacelle.toml"
    settings.write_text(settings_file({name: str(path) for name, path in models.items()}))
    with Serving(["--config", str(settings)], F32, {"NACELLE_FAULTS": "1"}) as serving:
        for name in models:
            serving.wait_until_ready(name)
        yield serving


@contextlib.contextmanager
def open_client(kind: Any, server: Serving) -> Iterator[Any]:
    with httpx.Client(timeout=60) as http:
        yield kind(base_url=server.base_url, api_key="unused", httpx_client=http)


@pytest.fixture(params=[cohere.Client, cohere.ClientV2], ids=["v1", "v2"])
def client(request: pytest.FixtureRequest, server: Serving) -> Iterator[Any]:
    with open_client(request.param, server) as client:
        yield client


def test_cohere_gets_the_best_first(client):
    answer = client.rerank(model=RERANKER, query=QUERY, documents=DOCUMENTS)
    assert answer.results[0].index == BEST
    scores = [result.relevance_score for result in answer.results]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert sorted(result.index for result in answer.results) == [0, 1, 2]
    assert answer.meta.billed_units.search_units == 1
    assert answer.meta.tokens.input_tokens > 30


def test_cohere_gets_only_as_many_as_it_wants(client):
    answer = client.rerank(model=RERANKER, query=QUERY, documents=DOCUMENTS, top_n=2)
    assert len(answer.results) == 2


def test_coheres_errors_are_raised(client):
    with pytest.raises(cohere.errors.BadRequestError, match="query"):
        client.rerank(model=RERANKER, query="", documents=DOCUMENTS)
    with pytest.raises(cohere.errors.NotFoundError):
        client.rerank(model="nobody", query=QUERY, documents=DOCUMENTS)


def test_cohere_v1_ranks_fields_of_objects_and_returns_them(server: Serving):
    documents = [{"text": "unrelated", "title": document} for document in DOCUMENTS]
    with open_client(cohere.Client, server) as client:
        answer = client.rerank(
            model=RERANKER, query=QUERY, documents=documents, rank_fields=["title"], return_documents=True
        )
        plain = client.rerank(model=RERANKER, query=QUERY, documents=DOCUMENTS, return_documents=False)
    assert [(r.index, r.relevance_score) for r in answer.results] == [
        (r.index, pytest.approx(r.relevance_score, abs=1e-5)) for r in plain.results
    ]
    assert answer.results[0].document is not None and answer.results[0].document.text == "unrelated"
    assert plain.results[0].document is None


def test_jinas_shape(server: Serving):
    documents = [{"text": document} for document in DOCUMENTS]
    answer = rerank(server, QUERY, documents, top_n=1).json()
    [best] = answer["results"]
    assert (best["index"], best["document"]) == (BEST, {"text": DOCUMENTS[BEST]})
    assert answer["usage"]["total_tokens"] > 0
    assert answer["model"] == RERANKER
    without = rerank(server, QUERY, documents, return_documents=False).json()
    assert all("document" not in result for result in without["results"])


def test_scores_of_pairs_are_those_of_the_ranking(server: Serving):
    def score(first: Any, second: Any) -> list[float]:
        body = {"model": RERANKER, "text_1": first, "text_2": second}
        answer = server.http.post("/score", json=body)
        assert answer.status_code == 200, answer.text
        assert [item["index"] for item in answer.json()["data"]] == list(range(len(answer.json()["data"])))
        return [item["score"] for item in answer.json()["data"]]

    expected = scores_of(rerank(server, QUERY, DOCUMENTS))
    assert_close([score(QUERY, DOCUMENTS)], [expected])
    assert_close([score([QUERY] * 3, DOCUMENTS)], [expected])
    assert_close([score(QUERY, DOCUMENTS[BEST])], [expected[BEST : BEST + 1]])


def test_a_causal_reranker_reads_its_instruction(server: Serving):
    own, again, told = (
        scores_of(rerank(server, QUERY, DOCUMENTS, model=CAUSAL, **fields))
        for fields in ({}, {}, {"instruction": "Find what is about fruit."})
    )
    assert_close([own], [again])
    assert all(0 < score < 1 for score in own)
    assert math.dist(own, told) > 1e-4


def test_documents_are_cut_to_a_limit_of_their_own(server: Serving):
    cut = rerank(server, QUERY, ["Paris is the capital of France."], max_tokens_per_doc=2)
    whole = rerank(server, QUERY, ["Paris is"])
    assert_close([scores_of(cut)], [scores_of(whole)])
    assert cut.json()["usage"] == whole.json()["usage"]


@pytest.mark.parametrize("model", [RERANKER, CAUSAL])
def test_an_empty_document_is_scored_like_any_other(server: Serving, model: str):
    with_empty = scores_of(rerank(server, QUERY, ["", *DOCUMENTS, " "], model=model))
    assert_close([with_empty[1:4]], [scores_of(rerank(server, QUERY, DOCUMENTS, model=model))])
    assert all(0 <= score <= 1 for score in with_empty)


def test_a_long_document_is_cut_unless_that_is_not_wanted(server: Serving):
    long = [DOCUMENTS[BEST] + " word" * 3000, *DOCUMENTS]
    scores = scores_of(rerank(server, QUERY, long))
    assert_close([scores[1:]], [scores_of(rerank(server, QUERY, DOCUMENTS))])
    refused = rerank(server, QUERY, long, truncate=False)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (
        400,
        "context_length_exceeded",
        "documents[0]",
    )
    body = {"model": RERANKER, "text_1": QUERY, "text_2": long}
    scored = server.http.post("/score", json=body)
    assert (scored.status_code, scored.json()["error"]["param"]) == (400, "text_2[0]")


def test_rankings_outlive_their_engine(server: Serving):
    documents = texts(40, words=20)
    expected = scores_of(rerank(server, QUERY, documents))
    with at_once(8) as pool:
        asking = [pool.submit(rerank, server, QUERY, documents) for _ in range(8)]
        wait_for(lambda: server.metric("nacelle_requests_running"), "the engine is at it")
        server.kill_host(signal.SIGKILL, RERANKER)
        for answer in asking:
            assert_close([scores_of(answer.result())], [expected])
    assert server.metric("nacelle_arena_leased_bytes") == 0


def test_only_the_guilty_request_fails(server: Serving):
    documents = texts(10)
    expected = scores_of(rerank(server, QUERY, documents))
    guilty = [*documents, f"[[fault:segv]] {server.port}"]
    with at_once(9) as pool:
        bad = pool.submit(rerank, server, QUERY, guilty)
        neighbours = [pool.submit(rerank, server, QUERY, documents) for _ in range(8)]
        for neighbour in neighbours:
            assert_close([scores_of(neighbour.result())], [expected])
    assert bad.result().json()["error"]["code"] == "engine_crashed"
    again = rerank(server, QUERY, guilty)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "request_blamed")
