"""POST /v1/embeddings over a host that is a stand-in: requests, work, bodies and refusals."""

import array
import asyncio
import base64
import json
from typing import Any

import msgspec
import openai.types
import pytest

from frontend.api import embeddings
from frontend.api.embedding_prompts import prompt_of
from frontend.api.schema.embeddings import EmbeddingRequest
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Cancel, Embed, Embedded, EmbedInputs, Failed
from ipc.messages.vectors import decode_embed_inputs
from tests.frontend.api.vector_server import VectorServer, run, vector_card
from tests.frontend.routing.hosts import CARD as TEXT_CARD

PATH = "/v1/embeddings"
WIDTH = 4
CARD = vector_card(WIDTH)


def numbers(count: int, width: int = WIDTH) -> "array.array[float]":
    """Different ones that 32 bits do not hold exactly."""
    return array.array("f", [0.1 * (index + 1) for index in range(count * width)])


def inputs_in(work: Embed) -> EmbedInputs:
    assert isinstance(work.payload, bytes)
    return decode_embed_inputs(work.payload)


def embedded(work: Embed, width: int | None = None) -> Embedded:
    inputs = inputs_in(work)
    count, width = len(inputs.texts) or len(inputs.token_ids), width or work.dimensions or WIDTH
    return Embedded(work.request_id, numbers(count, width).tobytes(), (count, width), prompt_tokens=7)


async def work_of(server: VectorServer, **fields: Any) -> Embed:
    """The work that a request becomes."""
    server.host.reply = embedded
    answer = await server.post(PATH, **fields)
    assert answer.status_code == 200, answer.text
    work = server.host.sent[-1]
    assert isinstance(work, Embed)
    return work


def test_vectors_as_numbers():
    async def scenario(server: VectorServer) -> None:
        server.host.reply = embedded
        answer = await server.post(PATH, input=["one", "two"])
        parsed = openai.types.CreateEmbeddingResponse.model_validate_json(answer.content)
        assert [item.index for item in parsed.data] == [0, 1]
        assert [x for item in parsed.data for x in item.embedding] == list(numbers(2))
        assert answer.json() == {
            "object": "list",
            "data": [
                {"object": "embedding", "index": item.index, "embedding": item.embedding}
                for item in parsed.data
            ],
            "model": "m",
            "usage": {"prompt_tokens": 7, "total_tokens": 7},
        }

    run(scenario, CARD)


@pytest.mark.parametrize("field", ["encoding_format", "embedding_type"])
def test_vectors_as_base64(field):
    async def scenario(server: VectorServer) -> None:
        server.host.reply = embedded
        answer = (await server.post(PATH, input=["one", "two"], **{field: "base64"})).json()
        data = b"".join(base64.b64decode(item["embedding"], validate=True) for item in answer["data"])
        assert data == numbers(2).tobytes()

    run(scenario, CARD)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_a_large_answer_comes_in_parts_and_others_have_their_turn_between(encoding, monkeypatch):
    monkeypatch.setitem(embeddings._NUMBERS_IN_A_PART, encoding, 3 * WIDTH)

    async def scenario(server: VectorServer) -> None:
        server.host.reply = embedded
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        counting = asyncio.create_task(count_turns())
        bodies, taken = [], []
        for count in (3, 3000):
            before = turns
            answer = await server.post(PATH, input=["x"] * count, encoding_format=encoding)
            taken.append(turns - before)
            bodies.append(answer.json())
        counting.cancel()
        assert [item["index"] for item in bodies[1]["data"]] == list(range(3000))
        assert bodies[1]["data"][:3] == bodies[0]["data"]
        assert bodies[1]["usage"] == bodies[0]["usage"]
        assert taken[1] - taken[0] >= 900

    monkeypatch.setattr(embeddings, "MAX_INPUTS", 3000)
    run(scenario, CARD)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("one", EmbedInputs(texts=["one"])),
        (["one", " "], EmbedInputs(texts=["one", " "])),
        ([5, 6], EmbedInputs(token_ids=[[5, 6]])),
        ([[5, 6], [7]], EmbedInputs(token_ids=[[5, 6], [7]])),
        (["x"] * 2048, EmbedInputs(texts=["x"] * 2048)),
        ([5] * 3000, EmbedInputs(token_ids=[[5] * 3000])),  # one input of many tokens
    ],
)
def test_inputs_are_texts_or_token_ids(given, expected):
    async def scenario(server: VectorServer) -> None:
        assert inputs_in(await work_of(server, input=given)) == expected

    run(scenario, CARD)


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({}, "input", "missing"),
        ({"input": ""}, "input", "empty"),
        ({"input": []}, "input", "empty"),
        ({"input": ["a", ""]}, "input[1]", "empty"),
        ({"input": [[1], [], [2]]}, "input[1]", "empty"),
        ({"input": ["a", [1]]}, "input", "string"),
        ({"input": [1, "a"]}, "input", "string"),
        ({"input": [1.5]}, "input[0]", "float"),
        ({"input": ["a"] * 2049}, "input", "2048"),
        ({"input": None}, "input", "null"),
        ({"input": "a", "encoding_format": "bytes"}, "encoding_format", "bytes"),
        ({"input": "a", "dimensions": 0}, "dimensions", "1"),
        ({"input": "a", "dimensions": WIDTH + 1}, "dimensions", str(WIDTH)),
        ({"input": "a", "truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "at least 1"),
        ({"input": "a", "truncate_prompt_tokens": 513}, "truncate_prompt_tokens", "512"),
        ({"input": "a", "truncate": "START"}, "truncate", "END"),
        ({"input": "a", "truncation_side": "left"}, "truncation_side", "end"),
        ({"input": "a", "late_chunking": True}, "late_chunking", "not supported"),
        ({"input": "a", "add_special_tokens": False}, "add_special_tokens", "not supported"),
        ({"input": "a", "prompt_name": "nonsense"}, "prompt_name", "passage, query"),
    ],
)
def test_a_bad_request_names_its_field_and_reaches_no_engine(fields, param, words):
    async def scenario(server: VectorServer) -> None:
        named, message = await server.refusal(PATH, **fields)
        assert named == param
        assert words in message
        assert server.host.sent == []

    run(scenario, CARD)


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, None),
        ({"truncate_prompt_tokens": -1}, -1),
        ({"truncate_prompt_tokens": 512}, 512),
        ({"truncate": True}, -1),
        ({"truncate": "END"}, -1),
        ({"truncate": False}, None),
        ({"truncate": "NONE"}, None),
        ({"truncate": "END", "truncate_prompt_tokens": 5}, 5),
    ],
)
def test_an_input_is_cut_only_where_that_was_asked_for(fields, tokens):
    async def scenario(server: VectorServer) -> None:
        assert (await work_of(server, input="a", **fields)).truncate == tokens

    run(scenario, CARD)


def test_dimensions_and_prompts_are_passed_on_and_the_user_is_nobodys_business():
    async def scenario(server: VectorServer) -> None:
        plain = await work_of(server, input="a", user="somebody")
        assert (plain.dimensions, plain.prompt) == (None, "")
        cut = await work_of(server, input="a", dimensions=2, prompt_name="query")
        assert (cut.dimensions, cut.prompt) == (2, "query: ")

    run(scenario, CARD)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ""),
        ({"prompt_name": "passage"}, "passage: "),
        ({"input_type": "query"}, "query: "),
        ({"input_type": "search_query"}, "query: "),
        ({"input_type": "search_document"}, "passage: "),
        ({"input_type": "document"}, "passage: "),
        ({"task": "retrieval.query"}, "query: "),
        ({"task": "retrieval.passage"}, "passage: "),
        ({"task": "classification"}, ""),  # the model has none for it
        ({"input_type": "whatever"}, ""),
        ({"input_type": "query", "prompt_name": "passage"}, "passage: "),
    ],
)
def test_the_models_own_prompt_is_found_by_any_of_its_names(fields, expected):
    request = msgspec.convert({"model": "m", "input": "a", **fields}, EmbeddingRequest)
    assert prompt_of(request, CARD) == expected


def test_of_two_prompts_for_one_purpose_the_one_named_counts():
    card = vector_card(WIDTH, {"query": "1", "s2p_query": "2", "Web": "3"})
    for name, expected in (("query", "1"), ("s2p_query", "2"), ("search_query", "1"), ("Web", "3")):
        assert prompt_of(EmbeddingRequest(model="m", input="a", input_type=name), card) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [({}, "passage: "), ({"input_type": "query"}, "query: "), ({"task": "classification"}, "passage: ")],
)
def test_a_default_prompt_serves_requests_that_choose_none(fields, expected):
    card = msgspec.structs.replace(CARD, default_prompt="passage")
    assert prompt_of(EmbeddingRequest(model="m", input="a", **fields), card) == expected


@pytest.mark.parametrize(
    ("card", "words"), [(TEXT_CARD, "generates text"), (vector_card(0), "reranks documents")]
)
def test_a_model_of_another_task_is_named_with_what_it_does(card, words):
    async def scenario(server: VectorServer) -> None:
        param, message = await server.refusal(PATH, input="a")
        assert param == "model"
        assert "'m'" in message and words in message

    run(scenario, card)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/completions", {"prompt": "hi"}),
        ("/v1/responses", {"input": "hi"}),
        ("/v1/rerank", {"query": "q", "documents": ["d"]}),
    ],
)
def test_an_embedding_model_refuses_everything_else(path, fields):
    async def scenario(server: VectorServer) -> None:
        param, message = await server.refusal(path, **fields)
        assert param == "model"
        assert "'m' computes embeddings" in message
        assert server.host.sent == []

    run(scenario, CARD)


def test_what_the_engine_refuses_is_a_400_of_the_input_that_it_names():
    def too_long(work: Embed) -> Failed:
        error = RequestError(ErrorCode.CONTEXT_LENGTH_EXCEEDED, "input[1] has 600 tokens", "input[1]")
        return Failed(work.request_id, error)

    async def scenario(server: VectorServer) -> None:
        server.host.reply = too_long
        answer = await server.post(PATH, input=["a", "b"])
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], error["param"]) == ("context_length_exceeded", "input[1]")

    run(scenario, CARD)


def test_vectors_of_a_shape_that_was_not_asked_for_are_the_engines_fault():
    async def scenario(server: VectorServer) -> None:
        server.host.reply = lambda work: embedded(work, width=WIDTH + 1)
        answer = await server.post(PATH, input="a")
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "engine_failed"

    run(scenario, CARD)


def test_a_client_that_leaves_takes_its_work_back_from_the_engine():
    async def scenario(server: VectorServer) -> None:
        asking = asyncio.create_task(server.post(PATH, input="a"))
        while not server.host.sent:
            await asyncio.sleep(0)
        asking.cancel()
        while len(server.host.sent) < 2:
            await asyncio.sleep(0)
        work, cancel = server.host.sent
        assert cancel == Cancel(work.request_id)

    run(scenario, CARD)


def test_the_smallest_and_largest_numbers_survive_as_numbers():
    values = array.array("f", [1.1754943508222875e-38, -1e-45, 3.4028234663852886e38, -0.0])

    async def scenario(server: VectorServer) -> None:
        server.host.reply = lambda work: Embedded(work.request_id, values.tobytes(), (1, WIDTH), 1)
        answer = await server.post(PATH, input="a")
        assert json.loads(answer.content)["data"][0]["embedding"] == list(values)

    run(scenario, CARD)
