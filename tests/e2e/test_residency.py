"""Two models and memory for one: a server that loads them on demand, as its clients see it."""

import concurrent.futures
import contextlib
import itertools
import json
import random
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.serving import EXACT, Serving, wait_for

SETTINGS = """
[server]
eviction_wait_seconds = 1.0
memory_budget_gib = {{ CPU = 0.85 }}
[[models]]
name = "a"
source = "{a}"
preload = false
kv_cache_gib = 0.25
[[models]]
name = "b"
source = "{b}"
preload = false
kv_cache_gib = 0.25
[[models]]
name = "slow"
source = "synthetic:20"
preload = false
kv_cache_gib = 0.6
"""
REQUESTS = 50
PROMPTS = ("Say hello.", "Count.", "Sing.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, qwen3_ir: Path) -> Path:
    """A copy of the model that tests may damage."""
    return Path(shutil.copytree(qwen3_ir, tmp_path_factory.mktemp("models") / "b"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, qwen3_ir: Path, folder: Path) -> Iterator[Serving]:
    file = tmp_path_factory.mktemp("settings") / "nacelle.toml"
    file.write_text(SETTINGS.format(a=qwen3_ir, b=folder))
    with Serving([], ["--config", str(file), *EXACT], {}) as serving:
        serving.wait_for("/ready", 60.0)
        yield serving


def ask(server: Serving, model: str, prompt: str = PROMPTS[0], **fields: object) -> str:
    response = server.chat(prompt, model=model, **fields)
    assert response.status_code == 200, response.text
    text: str = response.json()["choices"][0]["message"]["content"]
    return text


@contextlib.contextmanager
def waiting_client(server: Serving, model: str) -> Iterator[None]:
    """A client that asks for a completion and closes its connection at the end."""
    body = json.dumps({"model": model, "prompt": "Sing.", "max_tokens": 1})
    url = httpx.URL(server.base_url)
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: {url.netloc.decode()}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port)) as connection:
        connection.sendall((head + body).encode())
        yield


def cached_tokens(server: Serving, body: dict[str, object]) -> int:
    """Of the prompt of a completion."""
    response = server.http.post("/v1/completions", json=body)
    assert response.status_code == 200, response.text
    cached: int = response.json()["usage"]["prompt_tokens_details"]["cached_tokens"]
    return cached


def loads(server: Serving, model: str) -> float:
    return server.metric("nacelle_model_loads_total", model=model, result="loaded")


def state(server: Serving, model: str) -> str:
    return str(server.readiness(model)["state"])


def test_a_server_without_a_loaded_model_is_ready_as_it_loads_them_on_demand(server):
    health = server.http.get("/ready")
    assert health.status_code == 200
    assert [(model["ready"], model["on_demand"]) for model in health.json()["models"]] == [(False, True)] * 3
    assert loads(server, "a") == loads(server, "b") == 0


def test_fifty_interleaved_requests_end_right_and_take_no_more_loads_than_switches(server):
    expected = {prompt: ask(server, "a", prompt) for prompt in PROMPTS}
    before = loads(server, "a") + loads(server, "b")
    chance = random.Random(12)
    order = [chance.choice("ab") for _ in range(REQUESTS)]
    prompts = [chance.choice(PROMPTS) for _ in range(REQUESTS)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda model, prompt: ask(server, model, prompt), order, prompts))
    assert texts == [expected[prompt] for prompt in prompts]
    switches = 1 + sum(one != other for one, other in itertools.pairwise(order))
    assert 0 < loads(server, "a") + loads(server, "b") - before <= switches
    assert loads(server, "b") >= 1
    for name in ("nacelle_restarted_total", "nacelle_resumed_total", "nacelle_host_restarts_total"):
        assert server.metric(name) == 0, "nothing was evicted in mid-generation"


def test_a_client_that_leaves_while_it_waits_for_a_model_costs_no_eviction(server):
    before = loads(server, "b")
    body = {"model": "slow", "prompt": "Sing.", "max_tokens": 50, "stream": True}
    with server.http.stream("POST", "/v1/completions", json=body) as busy:
        lines = busy.iter_lines()
        next(lines)
        with waiting_client(server, "b"):
            wait_for(lambda: server.metric("nacelle_requests_queued", model="b"), "a request waits")
        wait_for(lambda: not server.metric("nacelle_requests_queued", model="b"), "its client has left")
        assert [line for line in lines if line][-1] == "data: [DONE]"
    assert state(server, "slow") == "ready"
    assert loads(server, "b") == before


def test_a_damaged_model_is_served_again_once_it_is_repaired(server, folder):
    ask(server, "a")
    weights = folder / "openvino_model.bin"
    kept = weights.read_bytes()
    weights.write_bytes(kept[: len(kept) // 2])
    failed = server.chat(model="b")
    assert failed.status_code == 503, failed.text
    assert "b is not available" in failed.json()["error"]["message"]
    assert (state(server, "b"), server.readiness("b")["on_demand"]) == ("failed", False)
    assert server.http.get("/ready").status_code == 200, "the other one can be used"
    weights.write_bytes(kept)
    pause = int(failed.headers["retry-after"])
    assert pause <= 60
    wait_for(lambda: server.chat(model="b").status_code == 200, "it is loaded again")


def test_the_first_answer_after_a_swap_finds_its_prefix_prefilled(server):
    rules = " ".join(f"Rule {number} is kindness." for number in range(80))
    body = {"model": "a", "prompt": f"{rules} Sing.", "max_tokens": 1, "temperature": 0}
    assert cached_tokens(server, body) == 0
    ask(server, "b")
    before = server.metric("nacelle_rehearsed_total", model="a")
    ask(server, "a")
    wait_for(lambda: server.metric("nacelle_rehearsed_total", model="a") > before, "it was rehearsed")
    assert loads(server, "a") > 1
    assert cached_tokens(server, body | {"prompt": f"{rules} Dance."}) > 100
