"""No request dies with its engine but the one that kills it.

A real engine in exact arithmetic, of random weights: it loads in a second, and its texts all differ.
"""

import asyncio
import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio

from tests.e2e.serving import EXACT, MODEL, Serving, wait_for

NEIGHBOURS = 15
TOKENS = 100
FIELDS = {"temperature": 0, "max_tokens": TOKENS, "ignore_eos": True}
PROMPTS = [f"Tell a story about the number {number}." for number in range(NEIGHBOURS)]
ENVIRONMENT = {"NACELLE_FAULTS": "1", "NACELLE_STALL_SECONDS": "5"}
MARKER_AT = random.Random(7).randrange(2, TOKENS)


@pytest.fixture(scope="module", params=[1, 2], ids=["one replica", "two replicas"])
def server(request: pytest.FixtureRequest, qwen3_ir: Path) -> Iterator[Serving]:
    arguments = [*EXACT, "--replicas", str(request.param)]
    with Serving([str(qwen3_ir), "--name", MODEL], arguments, ENVIRONMENT) as serving:
        serving.wait_until_ready()
        wait_for(lambda: all_ready(serving), "all replicas", 60)
        yield serving


@pytest.fixture(scope="module")
def expected(server: Serving) -> list[str]:
    """The greedy text of every prompt when nothing goes wrong."""
    return [text_of(server.chat(prompt, **FIELDS)) for prompt in PROMPTS]


def all_ready(server: Serving) -> bool:
    return all(replica["state"] == "ready" for replica in server.readiness()["replicas"])


def text_of(answer: httpx.Response, tokens: int = TOKENS) -> str:
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == tokens
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


@pytest.mark.parametrize("fault", ["segv", "segv@20", "abort", "hang", f"segv@{MARKER_AT}"])
def test_only_the_guilty_request_fails(server: Serving, expected: list[str], fault: str) -> None:
    restarts = server.metric("nacelle_host_restarts_total")
    guilty = f"[[fault:{fault}]] {server.port}"
    with ThreadPoolExecutor(NEIGHBOURS + 1) as pool:
        neighbours = [pool.submit(server.chat, prompt, **FIELDS) for prompt in PROMPTS]
        bad = pool.submit(server.chat, guilty, **FIELDS)
        texts = [text_of(neighbour.result()) for neighbour in neighbours]
    assert texts == expected
    error = bad.result().json()["error"]
    assert (bad.result().status_code, error["code"]) == (500, "engine_crashed")
    assert {"segv": "SIGSEGV", "abor": "SIGABRT", "hang": "SIGKILL"}[fault[:4]] in error["message"]
    assert "CPU" in error["message"]
    assert guilty not in error["message"]
    assert server.metric("nacelle_host_restarts_total") - restarts <= 3
    again = server.chat(guilty, **FIELDS)
    assert (again.status_code, again.json()["error"]["code"]) == (422, "request_blamed")


def test_an_exception_in_a_step_costs_nobody_else_anything(server: Serving, expected: list[str]) -> None:
    restarts = server.metric("nacelle_host_restarts_total")
    with ThreadPoolExecutor(NEIGHBOURS + 1) as pool:
        neighbours = [pool.submit(server.chat, prompt, **FIELDS) for prompt in PROMPTS]
        bad = pool.submit(server.chat, "[[fault:raise@10]]", **FIELDS)
        assert [text_of(neighbour.result()) for neighbour in neighbours] == expected
    assert bad.result().json()["error"]["code"] == "engine_failed"
    assert server.metric("nacelle_host_restarts_total") == restarts


def test_both_hosts_killed_at_once_and_again_while_they_load(server: Serving, expected: list[str]) -> None:
    before = sent_again(server)
    with ThreadPoolExecutor(NEIGHBOURS) as pool:
        neighbours = [pool.submit(server.chat, prompt, **FIELDS) for prompt in PROMPTS]
        wait_for(lambda: server.running() > 0, "they run")
        for _ in range(2):
            kill(server, signal.SIGKILL)
            wait_for(lambda: any(r["state"] == "loading" for r in server.readiness()["replicas"]), "loading")
        assert [text_of(neighbour.result()) for neighbour in neighbours] == expected
    assert sent_again(server) > before


def sent_again(server: Serving) -> float:
    return server.metric("nacelle_resumed_total") + server.metric("nacelle_restarted_total")


@pytest.mark.timeout(600)
def test_kills_from_outside_during_quarantine_condemn_no_innocent(
    server: Serving, expected: list[str]
) -> None:
    # So long that a trial takes a while.
    long_ones = [f"{'Once more: ' * 1_000} {prompt}" for prompt in PROMPTS[:2]]
    fields = FIELDS | {"max_tokens": 200}
    undisturbed = [text_of(server.chat(prompt, **fields), 200) for prompt in long_ones]
    blamed = server.metric("nacelle_blamed_total")
    with ThreadPoolExecutor(
        2
    ) as pool:  # once with one replica and once with two; the histories do it more often
        pair = [pool.submit(server.chat, prompt, **fields) for prompt in long_ones]
        wait_for(lambda: server.running() == 2, "they run")
        kill(server, signal.SIGSEGV)
        wait_for(partial(on_trial, server), "a suspect is tried")
        kill(server, signal.SIGKILL)
        wait_for(lambda: not on_trial(server), "the trial is interrupted")
        wait_for(partial(on_trial, server), "it is still a suspect")
        assert [text_of(answer.result(), 200) for answer in pair] == undisturbed
    wait_for(lambda: all_ready(server), "all replicas", 60)
    # A replica that dies five times without having done anything would be given up for a while.
    with ThreadPoolExecutor(NEIGHBOURS) as pool:
        answers = pool.map(lambda prompt: server.chat(prompt, **FIELDS), PROMPTS)
        assert list(map(text_of, answers)) == expected
    assert server.metric("nacelle_blamed_total") == blamed


def on_trial(server: Serving) -> bool:
    return server.metric("nacelle_requests_on_trial") == 1


def kill(server: Serving, number: signal.Signals) -> None:
    for process in server.hosts():
        process.send_signal(number)


def test_a_kill_during_drain_loses_nothing(qwen3_ir: Path) -> None:
    with Serving([str(qwen3_ir), "--name", MODEL], EXACT, ENVIRONMENT) as server:
        server.wait_until_ready()
        answers: list[httpx.Response] = []
        long = FIELDS | {"max_tokens": 1000}
        asking = threading.Thread(target=lambda: answers.append(server.chat(PROMPTS[0], **long)))
        asking.start()
        wait_for(lambda: server.running() == 1, "it runs")
        os.kill(server.pid, signal.SIGTERM)
        kill(server, signal.SIGKILL)
        asking.join(60)
        text_of(answers[0], 1000)
        assert server.wait_for_exit() == 0


def test_a_host_under_a_limit_that_is_too_small_works_on_and_its_requests_move_if_it_is_restarted(
    qwen3_ir: Path,
) -> None:
    options = ["--soft-memory-gib", "0.01", "--drain-seconds", "0.2"]
    with Serving([str(qwen3_ir), "--name", MODEL], [*EXACT, *options], ENVIRONMENT) as server:
        server.wait_until_ready()
        text_of(server.chat(PROMPTS[0], **FIELDS))
        wait_for(lambda: "raise soft_memory_gib" in server.log_tail(), "it says which setting is too small")
        answers: list[httpx.Response] = []
        long = FIELDS | {"max_tokens": 1000}
        asking = threading.Thread(target=lambda: answers.append(server.chat(PROMPTS[0], **long)))
        asking.start()
        wait_for(lambda: server.running() == 1, "it runs")
        assert server.readiness()["replicas"][0]["restarts"] == 0
        answer = server.http.post(f"/admin/hosts/{MODEL}/0/restart")
        assert answer.status_code == 202, answer.text
        asking.join(60)
        text_of(answers[0], 1000)
        assert server.readiness()["replicas"][0]["restarts"] == 1
        assert server.metric("nacelle_resumed_total") == 1


def test_an_answer_over_socket_io_continues(server: Serving, expected: list[str]) -> None:
    async def scenario() -> Any:
        client: Any = socketio.AsyncClient()
        tokens: asyncio.Queue[str] = asyncio.Queue()
        complete = asyncio.get_running_loop().create_future()
        client.on("inference_token", lambda data: tokens.put_nowait(data["token"]))
        client.on("inference_complete", complete.set_result)
        pids = [replica["pid"] for replica in server.readiness()["replicas"]]
        await client.connect(server.base_url, transports=["websocket"])
        await client.emit("inference_prompt", {"prompt": PROMPTS[0], **FIELDS})
        seen = [await tokens.get() for _ in range(5)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        message = (await asyncio.wait_for(complete, 60))["message"]
        seen += [tokens.get_nowait() for _ in range(tokens.qsize())]
        await client.disconnect()
        return "".join(seen), message

    restarts = server.metric("nacelle_host_restarts_total")
    assert asyncio.run(scenario()) == (expected[0], expected[0])
    wait_for(lambda: server.metric("nacelle_host_restarts_total") > restarts, "the death is counted")
    wait_for(lambda: all_ready(server), "all replicas", 60)
