"""The `ollama` client against a real server with real models, and the exact form of what it reads."""

import datetime
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from bench.server import free_port, nacelle_command
from tests.e2e.serving import EXACT, Serving, wait_for
from tests.e2e.test_vision import data_url
from tests.e2e.vector_serving import cosine

MODEL = "smollm2-vision"  # a real model that takes images, too
RANDOM = "qwen3"  # one of random weights, whose chat template knows tools and reasoning
PARIS = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"temperature": 0, "num_predict": 12}
STATISTICS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)


class OllamaServing(Serving):
    ollama_port: int
    store: Path

    @property
    def ollama_url(self) -> str:
        return f"http://127.0.0.1:{self.ollama_port}"


@pytest.fixture(scope="module")
def server(
    minilm_ir: Path, qwen3_ir: Path, vision_ir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OllamaServing]:
    named = tmp_path_factory.mktemp("models") / MODEL
    named.symlink_to(vision_ir)
    store = tmp_path_factory.mktemp("store")
    shutil.copytree(minilm_ir, store / "catalogue/minilm" / minilm_ir.name)
    port = free_port()
    arguments = ["--store", str(store), "--kv-cache-gib", "0.25", "--ollama-port", str(port), *EXACT]
    with OllamaServing([str(named), "minilm", str(qwen3_ir)], arguments, {}) as serving:
        serving.ollama_port, serving.store = port, store
        for name in (MODEL, "minilm", RANDOM):
            serving.wait_until_ready(name)
        yield serving


@pytest.fixture
def client(server: OllamaServing) -> Iterator[ollama.Client]:
    with ollama.Client(server.ollama_url) as client:
        yield client


def lines(answer: httpx.Response) -> list[dict]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.text.endswith("\n")
    return [json.loads(line) for line in answer.text.splitlines()]


# --- the client -------------------------------------------------------------------------------------------


def test_a_stream_says_the_same_as_the_whole_answer(client):
    whole = client.chat(f"{MODEL}:latest", PARIS, options=GREEDY)
    assert "Paris" in whole.message.content
    parts = list(client.chat(MODEL, PARIS, options=GREEDY, stream=True))
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert (parts[-1].done_reason, parts[-1].eval_count) == (whole.done_reason, whole.eval_count)
    assert parts[-1].prompt_eval_count == whole.prompt_eval_count > 20


def test_generate(client):
    raw = client.generate(MODEL, "The capital of France is", raw=True, options={**GREEDY, "num_predict": 4})
    assert "Paris" in raw.response
    whole = client.generate(RANDOM, "Hello", options=GREEDY)
    stream = client.generate(RANDOM, "Hello", options=GREEDY, stream=True)
    assert "".join(part.response for part in stream) == whole.response
    chatted = client.chat(RANDOM, [{"role": "user", "content": "Hello"}], options=GREEDY)
    assert chatted.message.content == whole.response
    with_system = client.generate(RANDOM, "Hello", system="You are a pirate.", options=GREEDY)
    assert with_system.prompt_eval_count > whole.prompt_eval_count


def test_the_token_limit_and_a_stop_string_end_a_text(client):
    short = client.generate(MODEL, "1, 2, 3, 4,", raw=True, options={**GREEDY, "num_predict": 3})
    assert (short.done_reason, short.eval_count) == ("length", 3)
    stopped = client.generate(
        MODEL, "1, 2, 3, 4,", raw=True, options={**GREEDY, "num_predict": 40, "stop": ["7, 8"]}
    )
    assert stopped.response.endswith("6, ")
    assert stopped.done_reason == "stop"


def test_a_limit_beyond_the_context_is_cut(client):
    options = {"temperature": 0, "num_predict": 1_000_000, "stop": ["Paris"]}
    assert client.chat(MODEL, PARIS, options=options).done_reason == "stop"


def test_a_seed_repeats_a_text(client):
    options = {"temperature": 1.0, "num_predict": 12, "seed": 7}
    texts = {
        client.generate(RANDOM, "Once upon a time", raw=True, options=options).response for _ in range(2)
    }
    assert len(texts) == 1


def test_an_answer_follows_a_schema(client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": False,
    }
    answer = client.chat(RANDOM, PARIS, format=schema, options={"temperature": 0, "num_predict": 60})
    assert json.loads(answer.message.content).keys() == {"city", "people"}
    anything = client.generate(RANDOM, "A JSON object:", format="json", options={"num_predict": 1})
    assert anything.response.startswith("{")


TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"a": {"enum": [2]}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
}


def test_tools_are_called_with_objects(server):
    """A grammar allows a call or a word, and chance decides: with one of the seeds, there is a call."""
    body = {"model": RANDOM, "messages": PARIS, "tools": [TOOL], "format": {"enum": ["no"]}}

    def message(seed: int) -> dict:
        options = {"temperature": 1000, "seed": seed, "num_predict": 80}
        answer = server.http.post("/api/chat", json={**body, "options": options, "stream": False})
        assert answer.json()["done_reason"] in ("stop", "length"), answer.text
        said: dict = answer.json()["message"]
        return said

    seed, called = next((s, said) for s in range(50) if "tool_calls" in (said := message(s)))
    functions = [call["function"] for call in called["tool_calls"]]
    assert functions[0] == {"index": 0, "name": "add", "arguments": {"a": 2}}
    assert called["content"] == ""
    options = {"temperature": 1000, "seed": seed, "num_predict": 80}
    *parts, _ = lines(server.http.post("/api/chat", json={**body, "options": options}))
    streamed = [call["function"] for part in parts for call in part["message"]["tool_calls"]]
    assert streamed == functions


def test_a_conversation_with_calls_goes_on(client):
    def add(a: int, b: int) -> int:
        """Add two numbers.

        Args:
            a: the first
            b: the second
        """
        return a + b

    call = {"function": {"name": "add", "arguments": {"a": 2, "b": 3}}}
    messages = [
        {"role": "user", "content": "What is 2 + 3?"},
        {"role": "assistant", "tool_calls": [call, call]},
        {"role": "tool", "tool_name": "add", "content": "5"},
        {"role": "tool", "tool_name": "add", "content": "5"},
    ]
    with_tools = client.chat(RANDOM, messages, tools=[add], options=GREEDY)
    assert with_tools.prompt_eval_count > client.chat(RANDOM, messages, options=GREEDY).prompt_eval_count


def test_thinking_has_a_field_of_its_own(client):
    thought = client.chat(RANDOM, PARIS, think=True, options=GREEDY)
    assert thought.done_reason == "length"
    quiet = client.chat(RANDOM, PARIS, think=False, options=GREEDY)
    assert quiet.message.thinking is None
    assert quiet.prompt_eval_count != thought.prompt_eval_count  # the template closes the reasoning
    with pytest.raises(ollama.ResponseError, match="does not support thinking"):
        client.chat(MODEL, PARIS, think=True)


def test_images_are_seen(client):
    image = data_url("red", "blue").partition(",")[2]
    question = {"role": "user", "content": "Which colours?", "images": [image]}
    answer = client.chat(MODEL, [question], options={"temperature": 0, "num_predict": 8})
    assert "blue" in answer.message.content
    again = client.generate(
        MODEL, "Which colours?", images=[image], options={"temperature": 0, "num_predict": 8}
    )
    assert again.response == answer.message.content
    for bad in ("QUJD", "###", ""):
        with pytest.raises(ollama.ResponseError, match=r"messages\[0\]\.images\[0\]"):
            client.chat(MODEL, [{**question, "images": [bad]}])


def test_log_probabilities(client):
    answer = client.chat(RANDOM, PARIS, logprobs=True, options=GREEDY)
    assert "".join(each.token for each in answer.logprobs).startswith(answer.message.content[:20])
    assert all(each.logprob <= 0 for each in answer.logprobs)


def test_embeddings_of_both_forms(client):
    both = client.embed("minilm", ["a cat", "a dog"])
    [one] = client.embed("minilm", "a cat").embeddings
    assert len(both.embeddings) == 2
    assert len(one) == 384
    assert one == pytest.approx(both.embeddings[0], abs=1e-5)
    assert client.embeddings("minilm", "a cat").embedding == pytest.approx(one, abs=1e-6)
    assert len(client.embed("minilm", "a cat", dimensions=8).embeddings[0]) == 8
    assert both.prompt_eval_count == 2 * 4
    long = "word " * 2000
    assert len(client.embed("minilm", long).embeddings[0]) == 384
    with pytest.raises(ollama.ResponseError) as caught:
        client.embed("minilm", long, truncate=False)
    assert caught.value.status_code == 400


def test_models_are_listed_and_shown(client):
    listed = {model.model: model for model in client.list().models}
    assert listed.keys() == {f"{name}:latest" for name in (MODEL, "minilm", RANDOM)}
    assert listed[f"{RANDOM}:latest"].details.family == "qwen3"
    assert all(len(model.digest) == 64 and model.size > 0 for model in listed.values())
    shown = client.show(RANDOM)
    assert {"completion", "tools", "thinking"} == set(shown.capabilities)
    assert "tool_call" in shown.template
    assert shown.modelinfo["general.architecture"] == "qwen3"
    assert shown.modelinfo["qwen3.context_length"] > 0
    assert client.show(f"{MODEL}:latest").capabilities == ["completion", "vision"]
    assert client.show("minilm").capabilities == ["embedding"]


def test_a_model_is_unloaded_and_loaded_again(server, client):
    def running() -> dict[str, Any]:
        return {model.model: model for model in client.ps().models}

    assert client.embed("minilm", "x", keep_alive="10m").embeddings
    held = running()["minilm:latest"]
    assert held.size > 10 * 1024**2
    left = held.expires_at - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(minutes=9) < left <= datetime.timedelta(minutes=10)
    assert client.embed("minilm", "", keep_alive=0).embeddings == []
    assert "minilm:latest" not in running()
    assert client.embed("minilm", "x", keep_alive=-1).embeddings  # loads it again
    assert running()["minilm:latest"].expires_at.year > 2200
    assert client.generate(RANDOM, "x", keep_alive=0, options=GREEDY).done  # once it has answered
    wait_for(lambda: f"{RANDOM}:latest" not in running(), "unloaded when idle")
    assert client.generate(RANDOM, keep_alive=0).done_reason == "unload"
    assert f"{RANDOM}:latest" not in running()
    assert client.generate(RANDOM, keep_alive=300).done_reason == "load"
    assert f"{RANDOM}:latest" in running()


def test_a_model_is_copied_and_its_copy_deleted(server, client):
    def listed() -> set[str | None]:
        return {model.model for model in client.list().models}

    before = listed()
    client.copy("minilm:latest", "sentences:v1")
    assert listed() == before | {"sentences:v1"}
    [copied], [own] = (client.embed(name, "a cat").embeddings for name in ("sentences:v1", "minilm"))
    # The copy does not take the command line's EXACT: it may compute with 16 bits.
    assert cosine(copied, own) > 0.999
    with pytest.raises(ollama.ResponseError, match="already"):
        client.copy("minilm", "sentences:v1")
    client.delete("sentences:v1")
    assert listed() == before
    for call in (client.delete, client.show, lambda name: client.copy(name, "other")):
        with pytest.raises(ollama.ResponseError) as caught:
            call("sentences:v1")
        assert (caught.value.status_code, caught.value.error[:25]) == (404, 'model "sentences:v1" not ')
    with pytest.raises(ollama.ResponseError, match="not in the store") as caught:
        client.delete(RANDOM)
    assert caught.value.status_code == 409
    assert client.embed("minilm", "a cat").embeddings


def test_a_model_that_is_removed_beside_the_server_is_not_found(server, client):
    client.copy("minilm", "gone:v1")
    remove = [*nacelle_command(), "rm", "gone:v1", "--store", str(server.store)]
    subprocess.run(remove, check=True, timeout=60)
    assert "gone:v1" not in {model.model for model in client.list().models}
    with pytest.raises(ollama.ResponseError) as caught:
        client.embed("gone:v1", "a cat")
    assert caught.value.status_code == 404


def test_a_model_that_is_there_is_pulled_at_once(server, client):
    progress = [part.status for part in client.pull("minilm:latest", stream=True)]
    assert (progress[0], progress[-1]) == ("pulling manifest", "success")
    assert client.pull("minilm").status == "success"
    for name in ("nobody", "/etc/passwd"):
        with pytest.raises(ollama.ResponseError) as caught:
            client.pull(name)
        assert caught.value.status_code == 400


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_a_404_in_ollamas_words(client, stream):
    with pytest.raises(ollama.ResponseError) as caught:
        list(client.chat("nobody", PARIS, stream=stream))
    assert caught.value.status_code == 404
    assert caught.value.error.startswith('model "nobody" not found')


def test_a_bad_value_is_a_400_that_names_it(client):
    with pytest.raises(ollama.ResponseError, match=r"options\.temperature") as caught:
        client.chat(MODEL, PARIS, options={"temperature": -1})
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="keep_alive"):
        client.chat(MODEL, PARIS, keep_alive="soon")
    with pytest.raises(ollama.ResponseError, match=r"messages\[0\]\.images\[0\]"):
        client.chat(MODEL, [{"role": "user", "content": "What?", "images": [b"x"]}])
    with pytest.raises(ollama.ResponseError, match="does not generate text"):
        client.chat("minilm", PARIS)
    with pytest.raises(ollama.ResponseError, match="does not compute embeddings"):
        client.embed(MODEL, "x")
    with pytest.raises(ollama.ResponseError, match="nacelle pull"):
        client.create("mine", from_=MODEL)


# --- the form on the wire ---------------------------------------------------------------------------------


def test_the_lines_of_a_chat(server: OllamaServing):
    body = {"model": MODEL, "messages": PARIS, "options": {**GREEDY, "num_predict": 3}}
    answer = server.http.post("/api/chat", content=json.dumps(body))  # no Content-Type, as from curl -d
    *parts, last = lines(answer)
    for part in parts:
        assert list(part) == ["model", "created_at", "message", "done"]
        assert part["message"].keys() == {"role", "content"}
    assert list(last) == ["model", "created_at", "message", "done", "done_reason", *STATISTICS]
    assert (last["message"], last["done"]) == ({"role": "assistant", "content": ""}, True)
    assert all(isinstance(last[name], int) and last[name] > 0 for name in STATISTICS)
    parts_of_total = last["load_duration"] + last["prompt_eval_duration"] + last["eval_duration"]
    assert parts_of_total <= last["total_duration"] < 600e9


def test_the_lines_of_generate(server: OllamaServing):
    body = {"model": MODEL, "prompt": "Hi", "options": {**GREEDY, "num_predict": 3}}
    *parts, last = lines(server.http.post("/api/generate", json=body))
    assert {tuple(part) for part in parts} == {("model", "created_at", "response", "done")}
    assert list(last) == ["model", "created_at", "response", "done", "done_reason", *STATISTICS]


@pytest.mark.parametrize(("path", "field"), [("chat", "messages"), ("generate", "prompt")])
def test_an_empty_request_only_loads(server: OllamaServing, path: str, field: str):
    for body in ({"model": MODEL}, {"model": MODEL, field: None}):
        answer = server.http.post(f"/api/{path}", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert (answer.json()["done"], answer.json()["done_reason"]) == (True, "load")


def test_the_root_tells_clients_what_runs(server: OllamaServing):
    html = {"accept": "text/html,*/*"}
    with httpx.Client(base_url=server.ollama_url) as there:
        assert there.get("/", headers=html).text == there.get("/").text == "Ollama is running"
        assert there.head("/").status_code == 200
        assert there.get("/v1/models").status_code == 200
    assert server.http.get("/").text == "Ollama is running"
    page = server.http.get("/", headers=html)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


def test_errors_have_ollamas_form_on_its_paths_alone(server: OllamaServing):
    for answer in (
        server.http.post("/api/chat", content="{"),
        server.http.post("/api/generate", json={"model": "nobody", "prompt": "x"}),
        server.http.get("/api/nothing"),
        server.http.put("/api/chat"),
        server.http.post("/api/push", json={"model": MODEL}),
        server.http.get("/api/version", headers={"origin": "https://evil.example"}),
    ):
        assert answer.status_code in (400, 403, 404, 405)
        assert list(answer.json()) == ["error"]
        assert isinstance(answer.json()["error"], str)
    assert server.http.get("/v1/nothing").json()["error"]["code"] == "not_found"


def test_a_stream_survives_the_death_of_its_host(server: OllamaServing):
    numbers = {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 9}, "minItems": 60}
    body = {"model": RANDOM, "messages": PARIS, "format": {**numbers, "maxItems": 60}}
    body["options"] = {"temperature": 0}
    expected = server.http.post("/api/chat", json={**body, "stream": False}).json()
    pid, text, last = server.host_pid(RANDOM), "", {}
    with server.http.stream("POST", "/api/chat", json=body) as stream:
        for line in stream.iter_lines():
            last = json.loads(line)
            text += last["message"]["content"]
            if pid and len(text) > 20:
                server.kill_host(signal.SIGKILL, RANDOM)
                pid = 0
    assert not pid
    assert text == expected["message"]["content"]
    assert len(json.loads(text)) == 60
    assert (last["done"], last["eval_count"]) == (True, expected["eval_count"])
    assert server.metric("nacelle_host_restarts_total", model=RANDOM) == 1
    server.wait_until_ready(RANDOM)


def test_a_client_that_leaves_frees_its_host(server: OllamaServing):
    body = {"model": RANDOM, "prompt": "Count to a thousand.", "options": {"num_predict": 5000}}
    with server.http.stream("POST", "/api/generate", json=body) as stream:
        next(stream.iter_lines())
        wait_for(lambda: server.running() == 1, "the request runs")
    wait_for(lambda: not server.running(), "nothing runs")
