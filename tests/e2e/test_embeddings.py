"""Embeddings of real models, all-MiniLM-L6-v2 and multilingual-e5-small, by the clients that people use, and
what becomes of requests whose engine dies."""

import contextlib
import http.client
import json
import math
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from pydantic import SecretStr

from bench.chaos_trial import settings_file
from tests.e2e.serving import Serving, wait_for
from tests.e2e.vector_serving import (
    CHAT,
    EMBEDDER,
    F32,
    PROMPTED,
    WIDTH,
    assert_close,
    at_once,
    cosine,
    embed,
    numbers,
    texts,
    vectors_of,
)

TRUTH = "A nacelle is the housing of an aircraft engine."
SIMILAR = "The cover around the motor of a plane is called a nacelle."
OTHER = "Bananas are rich in potassium."


@pytest.fixture(scope="module")
def server(
    minilm_ir: Path, e5_ir: Path, qwen3_ir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    models = {EMBEDDER: minilm_ir, PROMPTED: e5_ir, CHAT: qwen3_ir}
    settings = tmp_path_factory.mktemp("settings") / "nacelle.toml"
    settings.write_text(settings_file({name: str(path) for name, path in models.items()}))
    environment = {"NACELLE_FAULTS": "1", "NACELLE_STALL_SECONDS": "5"}
    with Serving(["--config", str(settings)], F32, environment) as serving:
        for name in models:
            serving.wait_until_ready(name)
        yield serving


@pytest.fixture
def client(server: Serving) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


def window(server: Serving) -> int:
    listed = {model["id"]: model for model in server.http.get("/v1/models").json()["data"]}
    length: int = listed[EMBEDDER]["max_model_len"]
    return length


# --- what clients get -----------------------------------------------------------------------------------


def test_vectors_are_the_same_as_numbers_and_as_base64(client):
    fields = {"model": EMBEDDER, "input": [TRUTH, OTHER]}
    decoded = client.embeddings.create(**fields)  # the client asks for base64 unless told otherwise
    plain = client.embeddings.create(**fields, encoding_format="float")
    raw = client.embeddings.create(**fields, encoding_format="base64")
    assert isinstance(raw.data[0].embedding, str)
    vectors = [item.embedding for item in plain.data]
    assert_close([item.embedding for item in decoded.data], vectors)
    assert_close([numbers(item.embedding) for item in raw.data], vectors)
    assert [len(vector) for vector in vectors] == [WIDTH, WIDTH]
    assert (plain.object, plain.model, plain.data[1].index) == ("list", EMBEDDER, 1)


def test_alike_texts_have_alike_vectors_of_length_one(server: Serving):
    truth, similar, other = vectors_of(embed(server, [TRUTH, SIMILAR, OTHER]))
    assert cosine(truth, similar) > 0.5 > 0.3 > cosine(truth, other)
    assert math.hypot(*truth) == pytest.approx(1, abs=1e-5)


def test_a_vector_depends_neither_on_its_neighbours_nor_on_their_number(server: Serving):
    many = texts(40)
    together = vectors_of(embed(server, many))
    assert_close([vectors_of(embed(server, text))[0] for text in many[:5]], together[:5])
    assert_close(vectors_of(embed(server, many[::-1])), together[::-1])


def test_langchain_gets_the_same_vectors(server: Serving):
    embedder = OpenAIEmbeddings(
        model=EMBEDDER,
        base_url=f"{server.base_url}/v1",
        api_key=SecretStr("unused"),
        check_embedding_ctx_length=False,
    )
    found = [*embedder.embed_documents([TRUTH, OTHER]), embedder.embed_query(SIMILAR)]
    assert_close(found, vectors_of(embed(server, [TRUTH, OTHER, SIMILAR])))


def test_usage_is_the_sum_over_the_inputs_with_their_special_tokens(server: Serving):
    def tokens(given: str | list[str]) -> int:
        usage = embed(server, given).json()["usage"]
        assert usage["prompt_tokens"] == usage["total_tokens"]
        count: int = usage["total_tokens"]
        return count

    assert tokens("a") == 3  # [CLS] a [SEP]
    assert tokens([TRUTH, OTHER]) == tokens(TRUTH) + tokens(OTHER)


def test_token_ids_are_read_as_their_text(server: Serving):
    hello_world = [7592, 2088]
    expected = vectors_of(embed(server, ["hello world", "hello"]))
    assert_close(vectors_of(embed(server, hello_world)), expected[:1])
    assert_close(vectors_of(embed(server, [hello_world, [7592]])), expected)
    refused = embed(server, [[7592], [10**6]])
    assert refused.status_code == 400
    assert refused.json()["error"]["param"].startswith("input")


@pytest.mark.parametrize(
    "fields", [{"prompt_name": "query"}, {"input_type": "search_query"}, {"task": "retrieval.query"}]
)
def test_a_models_own_prompt_precedes_each_text_where_it_is_asked_for(server: Serving, fields):
    fields = {"model": PROMPTED, **fields}
    asked = embed(server, ["un avion", "une banane"], **fields)
    written = embed(server, ["query: un avion", "query: une banane"], model=PROMPTED)
    assert_close(vectors_of(asked), vectors_of(written))
    assert asked.json()["usage"] == written.json()["usage"]
    plain = vectors_of(embed(server, "un avion", model=PROMPTED))
    assert math.dist(plain[0], vectors_of(asked)[0]) > 0.01


def test_texts_of_two_languages_find_each_other(server: Serving):
    query, *passages = vectors_of(
        embed(
            server,
            ["query: où loge un moteur d'avion ?", f"passage: {OTHER}", f"passage: {TRUTH}"],
            model=PROMPTED,
        )
    )
    assert cosine(query, passages[1]) > cosine(query, passages[0])


def test_fewer_dimensions_are_the_first_ones_normalized_again(server: Serving):
    [whole] = vectors_of(embed(server, TRUTH))
    [cut] = vectors_of(embed(server, TRUTH, dimensions=64))
    length = math.hypot(*whole[:64])
    assert_close([cut], [[number / length for number in whole[:64]]])
    refused = embed(server, TRUTH, dimensions=WIDTH + 1)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "dimensions")


def test_an_input_beyond_the_window_is_refused_or_cut_as_asked_for(server: Serving):
    most = window(server)
    long = "word " * most  # and two special tokens
    refused = embed(server, [TRUTH, long])
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (
        400,
        "context_length_exceeded",
        "input[1]",
    )
    cut = embed(server, long, truncate_prompt_tokens=-1)
    assert cut.json()["usage"]["total_tokens"] == most
    assert_close(vectors_of(cut), vectors_of(embed(server, "word " * (most - 2))))
    short = embed(server, long, truncate_prompt_tokens=10)
    assert short.json()["usage"]["total_tokens"] == 10
    assert_close(vectors_of(short), vectors_of(embed(server, "word " * 8)))


@pytest.mark.parametrize("given", ["", [], [""], ["a", ""], [[]], [[101], []]])
def test_nothing_is_no_input_and_the_engine_lives_on(server: Serving, given):
    pid = server.host_pid(EMBEDDER)
    assert embed(server, given).status_code == 400
    assert embed(server, TRUTH).status_code == 200
    assert server.host_pid(EMBEDDER) == pid


def test_a_model_of_another_task_is_a_400_that_says_what_it_does(client):
    with pytest.raises(openai.BadRequestError, match="generates text") as caught:
        client.embeddings.create(model=CHAT, input="a")
    assert caught.value.param == "model"
    with pytest.raises(openai.BadRequestError, match="computes embeddings") as caught:
        client.chat.completions.create(model=EMBEDDER, messages=[{"role": "user", "content": "a"}])
    assert caught.value.param == "model"


def test_a_full_request_crosses_in_shared_memory_which_is_free_afterwards(server: Serving):
    inputs = ["word " * (window(server) - 2), *texts(2047, words=4)]
    answer = embed(server, inputs, encoding_format="base64")
    found = vectors_of(answer)
    assert len(found) == 2048
    assert_close(found[-2:], vectors_of(embed(server, inputs[-2:])))
    assert server.metric("nacelle_arena_leased_bytes") == 0


# --- engines that die, clients that leave -------------------------------------------------------------------


def running(server: Serving) -> float:
    return server.metric("nacelle_requests_running", model=EMBEDDER)


def kill_host(server: Serving, number: signal.Signals = signal.SIGKILL) -> int:
    return server.kill_host(number, EMBEDDER)


def test_a_full_request_outlives_its_engine(server: Serving):
    inputs = texts(2048, words=4, seed=2)
    expected = vectors_of(embed(server, inputs, encoding_format="base64"))
    with at_once(1) as pool:
        asking = pool.submit(embed, server, inputs, encoding_format="base64")
        wait_for(lambda: running(server), "the engine is at it")
        pid = kill_host(server)
        assert_close(vectors_of(asking.result()), expected)
    assert server.host_pid(EMBEDDER) != pid
    assert server.metric("nacelle_arena_leased_bytes") == 0


def test_64_requests_at_once_outlive_their_engine(server: Serving):
    inputs = texts(64, words=30, seed=3)
    expected = vectors_of(embed(server, inputs))
    with at_once(64) as pool:
        asking = [pool.submit(embed, server, [text] * 4) for text in inputs]
        wait_for(lambda: running(server), "the engine is at it")
        kill_host(server)
        for answer, vector in zip(asking, expected, strict=True):
            assert_close(vectors_of(answer.result()), [vector] * 4)
    assert server.metric("nacelle_arena_leased_bytes") == 0


@pytest.mark.parametrize("fault", ["segv", "hang"])
def test_only_the_guilty_request_fails_and_is_refused_when_it_comes_again(server: Serving, fault: str):
    inputs = texts(16, seed=4)
    expected = vectors_of(embed(server, inputs))
    guilty = ["harmless", f"[[fault:{fault}]] {server.port}"]
    with at_once(17) as pool:
        bad = pool.submit(embed, server, guilty)
        neighbours = [pool.submit(embed, server, [text] * 4) for text in inputs]
        for neighbour, vector in zip(neighbours, expected, strict=True):
            assert_close(vectors_of(neighbour.result()), [vector] * 4)
    error = bad.result().json()["error"]
    assert (bad.result().status_code, error["code"]) == (500, "engine_crashed")
    again = embed(server, guilty)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "request_blamed")
    assert vectors_of(embed(server, "harmless"))


def test_a_client_that_leaves_frees_the_engine(server: Serving):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.connect()
    body = json.dumps({"model": EMBEDDER, "input": texts(2048, words=100, seed=5)})

    def ask() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):  # we cut the connection ourselves
            connection.request("POST", "/v1/embeddings", body)
            connection.getresponse()

    thread = threading.Thread(target=ask)
    sock = connection.sock
    thread.start()
    wait_for(lambda: running(server), "the engine is at it")
    sock.shutdown(socket.SHUT_RDWR)
    wait_for(lambda: not running(server), "the engine is free", seconds=5)
    thread.join(10)
    connection.close()
    assert server.metric("nacelle_arena_leased_bytes") == 0
    assert embed(server, TRUTH).status_code == 200
