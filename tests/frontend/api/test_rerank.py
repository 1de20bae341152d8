"""Reranking and scoring over a host that is a stand-in: requests, work, bodies and refusals."""

import array
import threading
from typing import Any

import pytest

from frontend.errors import BadRequest
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Failed, Rerank, Reranked, RerankInputs, ToFrontend
from ipc.messages.vectors import decode_rerank_inputs
from tests.frontend.api.vector_server import VectorServer, run, vector_card
from tests.frontend.routing.hosts import CARD as TEXT_CARD

CARD = vector_card(0)
PATHS = ["/v1/rerank", "/rerank", "/v2/rerank"]
DOCUMENTS = ["a", "bbb", "cc", "bbb"]


def inputs_in(work: Rerank) -> RerankInputs:
    assert isinstance(work.payload, bytes)
    return decode_rerank_inputs(work.payload)


def by_length(work: Rerank) -> ToFrontend:
    """The longer a document, the higher its score, in eighths."""
    scores = array.array("f", [len(document) / 8 for document in inputs_in(work).documents])
    return Reranked(work.request_id, scores.tobytes(), (len(scores),), prompt_tokens=9)


async def ranked(server: VectorServer, path: str = "/v1/rerank", **fields: Any) -> dict[str, Any]:
    server.host.reply = by_length
    answer = await server.post(path, **{"query": "q", "documents": DOCUMENTS} | fields)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def work_of(server: VectorServer, **fields: Any) -> Rerank:
    """The work that a request becomes."""
    await ranked(server, **fields)
    work = server.host.sent[-1]
    assert isinstance(work, Rerank)
    return work


@pytest.mark.parametrize(("path", "version"), [("/v1/rerank", "1"), ("/rerank", "1"), ("/v2/rerank", "2")])
def test_the_best_come_first_and_equal_ones_in_order(path, version):
    async def scenario(server: VectorServer) -> None:
        body = await ranked(server, path, return_documents=False)
        assert body.pop("id")
        assert body == {
            "object": "list",
            "model": "m",
            "results": [
                {"index": 1, "relevance_score": 3 / 8},
                {"index": 3, "relevance_score": 3 / 8},
                {"index": 2, "relevance_score": 2 / 8},
                {"index": 0, "relevance_score": 1 / 8},
            ],
            "usage": {"prompt_tokens": 9, "total_tokens": 9},
            "meta": {
                "api_version": {"version": version},
                "billed_units": {"search_units": 1},
                "tokens": {"input_tokens": 9},
            },
        }

    run(scenario, CARD)


@pytest.mark.parametrize(("top_n", "indexes"), [(1, [1]), (3, [1, 3, 2]), (100, [1, 3, 2, 0])])
def test_only_the_best_are_returned(top_n, indexes):
    async def scenario(server: VectorServer) -> None:
        body = await ranked(server, top_n=top_n)
        assert [result["index"] for result in body["results"]] == indexes

    run(scenario, CARD)


@pytest.mark.parametrize("path", PATHS)
def test_documents_are_returned_by_the_version_or_as_asked_for(path):
    async def scenario(server: VectorServer) -> None:
        for asked, returned in ((None, path != "/v2/rerank"), (True, True), (False, False)):
            body = await ranked(server, path, return_documents=asked)
            assert {"document" in result for result in body["results"]} == {returned}
            if returned:
                assert body["results"][0]["document"] == {"text": "bbb"}

    run(scenario, CARD)


def test_documents_may_be_objects_and_come_back_as_they_were():
    documents = ["plain", {"text": "one", "title": "T"}, {"text": "two", "id": 7}]

    async def scenario(server: VectorServer) -> None:
        body = await ranked(server, documents=documents)
        assert inputs_in(server.host.sent[-1]) == RerankInputs(["q"], ["plain", "one", "two"])
        returned = {result["index"]: result["document"] for result in body["results"]}
        assert returned == {0: {"text": "plain"}, 1: documents[1], 2: documents[2]}

    run(scenario, CARD)


def test_chosen_fields_of_objects_are_scored_in_the_order_given():
    documents = [{"title": "T", "text": "x", "author": "A"}, {"title": "only"}]

    async def scenario(server: VectorServer) -> None:
        work = await work_of(server, documents=documents, rank_fields=["author", "title"])
        assert inputs_in(work).documents == ["A\nT", "only"]

    run(scenario, CARD)


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"query": ""}, "query", "length >= 1"),
        ({"query": None}, "query", "null"),
        ({"documents": []}, "documents", "length >= 1"),
        ({"documents": ["a"] * 10_001}, "documents", "10000"),
        ({"documents": ["a", 5]}, "documents[1]", "int"),
        ({"documents": ["a", {"title": "T"}]}, "documents[1]", "text"),
        ({"documents": ["a", {"text": 5}]}, "documents[1]", "text"),
        ({"documents": [{"text": "a"}], "rank_fields": ["title", "body"]}, "documents[0]", "title or body"),
        ({"rank_fields": []}, "rank_fields", "length >= 1"),
        ({"top_n": 0}, "top_n", "1"),
        ({"relevant_spans": {"mode": "x"}}, "relevant_spans", "not supported"),
        ({"truncate_prompt_tokens": 513}, "truncate_prompt_tokens", "512"),
        ({"truncate": "START"}, "truncate", "END"),
    ],
)
def test_a_bad_request_names_its_field_and_reaches_no_engine(fields, param, words):
    async def scenario(server: VectorServer) -> None:
        named, message = await server.refusal("/v1/rerank", **{"query": "q", "documents": DOCUMENTS} | fields)
        assert named == param
        assert words in message
        assert server.host.sent == []

    run(scenario, CARD)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, -1),
        ({"truncate": False}, None),
        ({"truncate": "NONE"}, None),
        ({"truncate": "END"}, -1),
        ({"truncate_prompt_tokens": 40}, 40),
    ],
)
def test_a_long_document_is_cut_to_the_window_unless_told_otherwise(fields, tokens):
    async def scenario(server: VectorServer) -> None:
        assert (await work_of(server, **fields)).truncate == tokens

    run(scenario, CARD)


def test_documents_may_have_a_limit_of_their_own():
    async def scenario(server: VectorServer) -> None:
        assert (await work_of(server)).max_document_tokens is None
        work = await work_of(server, max_tokens_per_doc=30)
        assert (work.max_document_tokens, work.truncate) == (30, -1)
        assert (await server.refusal("/v1/rerank", query="q", documents=["d"], max_tokens_per_doc=0))[0] == (
            "max_tokens_per_doc"
        )

    run(scenario, CARD)


def test_an_instruction_reaches_the_engine():
    async def scenario(server: VectorServer) -> None:
        assert (await work_of(server)).instruction == ""
        assert (await work_of(server, instruction="Find code.")).instruction == "Find code."

    run(scenario, CARD)


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("q", "a", RerankInputs(["q"], ["a"])),
        ("q", ["a", "bb"], RerankInputs(["q"], ["a", "bb"])),
        (["q"], ["a", "bb"], RerankInputs(["q"], ["a", "bb"])),
        (["q", "r"], ["a", "bb"], RerankInputs(["q", "r"], ["a", "bb"])),
    ],
)
def test_pairs_are_scored_in_their_order(path, first, second, expected):
    async def scenario(server: VectorServer) -> None:
        server.host.reply = by_length
        answer = await server.post(path, text_1=first, text_2=second)
        assert answer.status_code == 200, answer.text
        work = server.host.sent[-1]
        assert inputs_in(work) == expected
        assert work.truncate is None  # as vLLM has it: a pair that is too long is an error
        body = answer.json()
        assert body["object"] == "list" and body["model"] == "m"
        assert body["data"] == [
            {"index": index, "object": "score", "score": len(text) / 8}
            for index, text in enumerate(expected.documents)
        ]
        assert body["usage"] == {"prompt_tokens": 9, "total_tokens": 9}

    run(scenario, CARD)


@pytest.mark.parametrize(
    ("first", "second", "param"),
    [
        (["q", "r"], ["a", "b", "c"], "text_1"),
        (["q", "r"], "a", "text_1"),
        ("", "a", "text_1"),
        (["q", ""], ["a", "b"], "text_1[1]"),
        ([], ["a"], "text_1"),
        ("q", [], "text_2"),
    ],
)
def test_what_forms_no_pairs_is_refused(first, second, param):
    async def scenario(server: VectorServer) -> None:
        named, _ = await server.refusal("/score", text_1=first, text_2=second)
        assert named == param
        assert server.host.sent == []

    run(scenario, CARD)


@pytest.mark.parametrize(
    ("named", "expected"),
    [("documents[3]", "text_2[3]"), ("queries[1]", "text_1[1]"), ("query", "text_1"), ("model", "model")],
)
def test_what_the_engine_refuses_of_a_pair_has_the_names_of_the_request(named, expected):
    error = RequestError(ErrorCode.CONTEXT_LENGTH_EXCEEDED, f"{named} is too long", named)

    async def scenario(server: VectorServer) -> None:
        server.host.reply = lambda work: Failed(work.request_id, error)
        param, message = await server.refusal("/score", text_1="q", text_2=["a", "b", "c", "d"])
        assert (param, message) == (expected, f"{expected} is too long")

    run(scenario, CARD)


@pytest.mark.parametrize(
    ("card", "words"), [(TEXT_CARD, "generates text"), (vector_card(4), "computes embeddings")]
)
def test_a_model_of_another_task_is_named_with_what_it_does(card, words):
    async def scenario(server: VectorServer) -> None:
        requests: list[tuple[str, dict[str, Any]]] = [
            *((path, {"query": "q", "documents": ["d"]}) for path in PATHS),
            ("/score", {"text_1": "q", "text_2": "d"}),
        ]
        for path, fields in requests:
            param, message = await server.refusal(path, **fields)
            assert param == "model"
            assert "'m'" in message and words in message and "does not rerank" in message

    run(scenario, card)


def test_a_number_of_scores_that_was_not_asked_for_is_the_engines_fault():
    async def scenario(server: VectorServer) -> None:
        server.host.reply = lambda work: Reranked(work.request_id, b"\0" * 4, (1,), 1)
        answer = await server.post("/v1/rerank", query="q", documents=DOCUMENTS)
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "engine_failed"

    run(scenario, CARD)


@pytest.mark.parametrize(
    ("path", "work", "body"),
    [
        ("/v1/rerank", "texts_of", {"query": "q", "documents": ["x" * 100_000]}),
        ("/score", "pairs_of", {"text_1": ["x" * 100_000], "text_2": ["d"]}),
    ],
)
def test_a_large_body_is_worked_on_off_the_event_loop(path, work, body, monkeypatch):
    threads: list[threading.Thread] = []

    def refuse(*_: object) -> None:
        threads.append(threading.current_thread())
        raise BadRequest("enough")

    monkeypatch.setattr(f"frontend.api.rerank.{work}", refuse)

    async def scenario(server: VectorServer) -> None:
        assert (await server.refusal(path, **body))[1] == "enough"

    run(scenario, CARD)
    [thread] = threads
    assert thread is not threading.main_thread()
