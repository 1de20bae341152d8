"""Models of another Nacelle as replicas here: two real servers with the same tiny models, one of which gets
work from the other and is killed meanwhile."""

import json
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from bench.server import free_port
from frontend.remote.wire import Hello, encode_hello
from host.audio.samples import RATE
from tests.e2e.serving import EXACT, Serving, wait_for
from tests.e2e.vector_serving import assert_close, vectors_of
from tests.host.audio.files import encoded
from tests.host.audio.speaking import speak

KEY = "peer-key"
TOKENS = 300
FIELDS = {"temperature": 0, "max_tokens": TOKENS, "ignore_eos": True}
PROMPTS = [f"Tell a story about the number {number}." for number in range(3)]
KV = ["--kv-cache-gib", "0.25"]


def settings_file(folder: Path, models: Sequence[dict[str, Any]]) -> Path:
    path = folder / "nacelle.toml"
    entries = [
        "[[models]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in model.items())
        for model in models
    ]
    path.write_text("\n".join(entries))
    return path


class Pair:
    """`peer` has the models `big`, `embedder`, `hearing` and `made-up`, and `front` has them from there.

    Of `big`, `far` has no other replica, `both` has one here as well, and `foreign` is asked over HTTP, at a
    URL below which no work is taken."""

    def __init__(self, models: dict[str, str], folder: Path) -> None:
        self.peer_port = free_port()
        entries = [{"name": name, "source": source} for name, source in models.items()]
        (folder / "peer").mkdir()
        self._peer_settings = settings_file(folder / "peer", entries)
        self._text_alone = settings_file(folder, entries[:1])
        at = {"remote": f"http://127.0.0.1:{self.peer_port}", "remote_api_key_env": "PEER_KEY"}
        fronts = [
            {"name": "far", "remote_model": "big", **at},
            {"name": "both", "source": models["big"], "remote_model": "big", **at},
            {"name": "foreign", **at, "remote_model": "big", "remote": f"{at['remote']}/v1/v1"},
            {"name": "embedder", **at},
            {"name": "hearing", **at},
            {"name": "made-up", **at},
        ]
        self.peer = self._peer(self._peer_settings)
        (folder / "front").mkdir()
        self.front = Serving(
            ["--config", str(settings_file(folder / "front", fronts))],
            [*EXACT, *KV],
            {"PEER_KEY": KEY, "NACELLE_FAULTS": "1"},
        )

    def restart_peer(self) -> None:
        """With `big` alone."""
        self.peer = self._peer(self._text_alone)

    def _peer(self, settings: Path) -> Serving:
        environment = {"NACELLE_API_KEY": KEY, "NACELLE_FAULTS": "1"}
        arguments = ["--config", str(settings)]
        peer = Serving(arguments, [*EXACT, *KV], environment, self.peer_port)
        peer.http.headers["Authorization"] = f"Bearer {KEY}"
        return peer

    def replica_states(self, model: str) -> list[str]:
        return [replica["state"] for replica in self.front.readiness(model)["replicas"]]

    def wait_for_all(self) -> None:
        self.front.wait_for("/health", 30)
        for model in ("far", "both", "foreign", "embedder", "hearing", "made-up"):
            wait_for(lambda: set(self.replica_states(model)) == {"ready"}, f"{model} is ready", 90)  # noqa: B023

    def kill_peer(self) -> None:
        """With its hosts, as if its machine were gone."""
        process = psutil.Process(self.peer.pid)
        for victim in [process, *process.children()]:
            victim.kill()
        self.peer.stop()


@pytest.fixture(scope="module")
def pair(
    qwen3_ir: Path, minilm_ir: Path, whisper_ir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    models = {"big": str(qwen3_ir), "embedder": str(minilm_ir), "hearing": str(whisper_ir)}
    models["made-up"] = "synthetic:150"  # tokens a second
    pair = Pair(models, folder)
    try:
        pair.wait_for_all()
        yield pair
    finally:
        pair.front.stop()
        pair.peer.stop()


@pytest.fixture(scope="module")
def expected(pair: Pair) -> list[str]:
    """The texts when nothing goes wrong, from the server that has the model."""
    return [text_of(pair.peer.chat(prompt, model="big", **FIELDS)) for prompt in PROMPTS]


def text_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


class Streamed:
    """A chat that is read in a thread. `begun` is set with the first piece of text."""

    def __init__(self, server: Serving, model: str, prompt: str, **fields: Any) -> None:
        self.begun = threading.Event()
        self.text = ""
        self.error: dict[str, Any] | None = None
        self.usage: dict[str, Any] = {}
        self._done = False
        messages = [{"role": "user", "content": prompt}]
        self._body = {"model": model, "messages": messages, "stream": True, **FIELDS, **fields}
        self._body["stream_options"] = {"include_usage": True}
        self._server = server
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._server.http.stream("POST", "/v1/chat/completions", json=self._body) as answer:
            for line in answer.iter_lines():
                if line == "data: [DONE]":
                    self._done = True
                elif line.startswith("data: "):
                    self._take(json.loads(line.removeprefix("data: ")))

    def _take(self, event: dict[str, Any]) -> None:
        self.error = event.get("error", self.error)
        self.usage = event.get("usage") or self.usage
        for choice in event.get("choices", ()):
            if piece := choice["delta"].get("content"):
                self.text += piece
                self.begun.set()

    def whole(self) -> str:
        self._thread.join(60)
        assert self.error is None
        assert self._done
        return self.text


def test_a_text_of_another_server_is_the_one_that_it_gives_itself(pair: Pair, expected: list[str]) -> None:
    assert Streamed(pair.front, "far", PROMPTS[0]).whole() == expected[0]
    assert text_of(pair.front.chat(PROMPTS[1], model="far", **FIELDS)) == expected[1]
    assert pair.front.http.get("/v1/models/far").json()["max_model_len"]
    counted = pair.front.http.post("/tokenize", json={"model": "far", "prompt": "One two three."}).json()
    there = pair.peer.http.post("/tokenize", json={"model": "big", "prompt": "One two three."}).json()
    assert counted["tokens"] == there["tokens"] != []


def test_a_server_that_takes_no_work_is_asked_over_http(pair: Pair, expected: list[str]) -> None:
    assert Streamed(pair.front, "foreign", PROMPTS[0]).whole() == expected[0]
    assert text_of(pair.front.chat(PROMPTS[1], model="foreign", **FIELDS)) == expected[1]
    refused = pair.front.chat("Hello", model="foreign", temperature=99)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "temperature")
    asked = pair.front.http.post("/tokenize", json={"model": "foreign", "prompt": "One."})
    assert asked.status_code == 400
    assert "another server" in asked.json()["error"]["message"]
    assert "foreign" in [model["id"] for model in pair.front.http.get("/v1/models").json()["data"]]


def test_work_is_shared_between_this_server_and_the_other(pair: Pair, expected: list[str]) -> None:
    def generated() -> tuple[float, float]:
        there = pair.peer.metric("nacelle_generated_tokens_total", model="big")
        return there, pair.front.metric("nacelle_generated_tokens_total", model="both")

    there, everywhere = generated()
    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        answers = [pool.submit(pair.front.chat, prompt, model="both", **FIELDS) for prompt in PROMPTS]
        assert [text_of(answer.result()) for answer in answers] == expected
    more_there, more = (
        after - before for after, before in zip(generated(), (there, everywhere), strict=True)
    )
    assert more == TOKENS * len(PROMPTS)
    assert 0 < more_there < more


def test_a_client_that_leaves_stops_the_work_on_the_other_server(pair: Pair) -> None:
    body = {"model": "far", "messages": [{"role": "user", "content": "On and on."}], "stream": True}
    body |= FIELDS | {"max_tokens": 7000}
    with pair.front.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()  # which closes the connection once nobody refers to it
        next(lines)
        wait_for(lambda: pair.peer.running() == 1, "it runs there")
    wait_for(lambda: pair.peer.running() == 0, "it has stopped there")
    assert pair.front.running() == 0


def test_embeddings_cross_even_where_they_are_large(pair: Pair) -> None:
    texts = [f"{number} {'x' * 1500}" for number in range(60)]  # more than 64 KiB both ways, of few tokens
    there = pair.peer.http.post("/v1/embeddings", json={"model": "embedder", "input": texts}, timeout=120)
    here = pair.front.http.post("/v1/embeddings", json={"model": "embedder", "input": texts}, timeout=120)
    assert_close(vectors_of(here), vectors_of(there), 1e-4)


def test_an_uploaded_file_crosses(pair: Pair) -> None:
    said = np.concatenate([speak("Good morning everybody."), np.zeros(RATE, np.float32)])
    file = {"file": ("said.wav", encoded(said, "wav"), "audio/wav")}
    heard = [
        server.http.post(
            "/v1/audio/transcriptions", files=file, data={"model": "hearing", "temperature": "0"}
        )
        for server in (pair.front, pair.peer)
    ]
    assert [answer.status_code for answer in heard] == [200, 200], heard[0].text
    assert heard[0].json()["text"] == heard[1].json()["text"] != ""
    not_audio = {"file": ("said.wav", b"x" * 100_000, "audio/wav")}
    refused = pair.front.http.post("/v1/audio/transcriptions", files=not_audio, data={"model": "hearing"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "file")


def test_what_the_other_servers_host_rejects_is_a_400_here(pair: Pair) -> None:
    answer = pair.front.chat("word " * 40_000, model="far")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_a_host_that_dies_on_the_other_server_costs_no_more_than_time(pair: Pair) -> None:
    """With the synthetic engine, whose hosts start quickly: this is about processes and messages."""
    undisturbed = Streamed(pair.front, "made-up", "Hello").whole()
    stream = Streamed(pair.front, "made-up", "Hello")
    assert stream.begun.wait(30)
    victim = pair.peer.kill_host(signal.SIGKILL, "made-up")
    assert stream.whole() == undisturbed
    assert stream.usage["completion_tokens"] == TOKENS
    assert pair.peer.readiness("made-up")["replicas"][0]["pid"] not in (None, victim)
    assert pair.front.metric("nacelle_host_restarts_total", model="made-up") == 0


def test_a_request_that_kills_hosts_there_is_blamed_and_refused(pair: Pair) -> None:
    """With the synthetic engine, too."""
    guilty = pair.front.chat("[[fault:segv@5]]", model="made-up", **FIELDS)
    assert (guilty.status_code, guilty.json()["error"]["code"]) == (500, "engine_crashed")
    again = pair.front.chat("[[fault:segv@5]]", model="made-up", **FIELDS)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "request_blamed")
    assert pair.front.chat("Hello", model="made-up").status_code == 200
    assert pair.front.metric("nacelle_host_restarts_total", model="made-up") == 0


def test_a_wrong_key_and_a_wrong_greeting_get_no_work(pair: Pair) -> None:
    answer = httpx.get(f"{pair.peer.base_url}/internal/work/big", headers={"Authorization": "Bearer no"})
    assert answer.status_code == 401
    import websockets.sync.client

    url = f"ws://127.0.0.1:{pair.peer_port}/internal/work/big"
    headers = {"Authorization": f"Bearer {KEY}"}
    with websockets.sync.client.connect(url, additional_headers=headers) as other:
        other.send(encode_hello(Hello("0.0.1", "another")))
        assert json.loads(other.recv())["protocol"] != "another"
        with pytest.raises(websockets.ConnectionClosed):
            other.recv()


def test_texts_continue_here_when_the_other_server_is_killed(pair: Pair, expected: list[str]) -> None:
    streams = [Streamed(pair.front, "both", prompt) for prompt in PROMPTS]
    assert all(stream.begun.wait(30) for stream in streams)
    wait_for(lambda: pair.peer.running() > 0, "some run there", 5)
    pair.kill_peer()
    assert [stream.whole() for stream in streams] == expected
    assert {stream.usage["completion_tokens"] for stream in streams} == {TOKENS}
    assert pair.front.metric("nacelle_resumed_total", model="both") > 0
    assert pair.front.metric("nacelle_blamed_total", model="both") == 0
    assert pair.front.metric("nacelle_host_restarts_total", model="both", reason="lost") >= 1


def test_a_server_that_is_asked_over_http_and_gone_is_a_503(pair: Pair) -> None:
    answer = pair.front.chat("Hello", model="foreign")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
    wait_for(lambda: pair.replica_states("foreign") != ["ready"], "its health check fails")


def test_without_the_other_server_a_model_of_its_own_is_unavailable_and_says_why(pair: Pair) -> None:
    wait_for(lambda: pair.replica_states("far") == ["failed"], "it is given up for now")
    answer = pair.front.chat("Hello", model="far")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "model_unavailable")
    assert f"http://127.0.0.1:{pair.peer_port}" in answer.json()["error"]["message"]
    assert text_of(pair.front.chat("Hello", model="both"))


def test_another_server_that_comes_up_is_used(pair: Pair, expected: list[str]) -> None:
    pair.restart_peer()
    for model in ("far", "both", "foreign"):
        wait_for(lambda: set(pair.replica_states(model)) == {"ready"}, f"{model} is ready", 90)  # noqa: B023
    assert text_of(pair.front.chat(PROMPTS[2], model="far", **FIELDS)) == expected[2]


def test_a_server_that_stops_finishes_what_it_has(pair: Pair) -> None:
    songs = [f"Sing a song about the number {number}." for number in range(2)]  # no replica knows them yet
    expected = [text_of(pair.front.chat(song, model="far", **FIELDS)) for song in songs]
    resumed = pair.front.metric("nacelle_resumed_total", model="both")
    streams = [Streamed(pair.front, "both", song) for song in songs]
    assert all(stream.begun.wait(30) for stream in streams)
    wait_for(lambda: pair.peer.running() > 0, "one runs there", 5)
    psutil.Process(pair.peer.pid).send_signal(signal.SIGTERM)
    assert [stream.whole() for stream in streams] == expected
    assert pair.peer.wait_for_exit() == 0
    assert pair.front.metric("nacelle_resumed_total", model="both") == resumed
