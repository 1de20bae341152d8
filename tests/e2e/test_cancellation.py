"""A client that goes away frees its place in the engine within a second: queued, in prefill, in decode,
streaming or not."""

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.serving import EXACT, MODEL, Serving, wait_for

LONG = {"max_tokens": 4000, "ignore_eos": True, "temperature": 0}
PROMPTS = {"decode": "Tell a long story.", "prefill": "word " * 3500}
SECONDS_TO_CANCEL = 1.0
SECONDS_OF_A_STEP = 4.0  # of prefill, on a busy machine; it cannot be interrupted


@pytest.fixture(scope="module")
def server(smollm2_ir: Path) -> Iterator[Serving]:
    """As for other tests, but with all threads: steps are timed here."""
    with Serving([str(smollm2_ir), "--name", MODEL], EXACT, {"NACELLE_THREADS": "0"}) as serving:
        yield serving.wait_until_ready()


class Asking:
    """A request in a thread, whose connection can be cut."""

    def __init__(self, server: Serving, prompt: str, stream: bool) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        self._connection.connect()
        self._socket = self._connection.sock
        self.chunks = 0
        body = json.dumps({"model": MODEL, "prompt": prompt, "stream": stream, **LONG})
        self._thread = threading.Thread(target=self._ask, args=(body,))
        self._thread.start()

    def _ask(self, body: str) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):  # we cut the connection ourselves
            self._connection.request("POST", "/v1/completions", body)
            response = self._connection.getresponse()
            while response.read1():
                self.chunks += 1

    def leave(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._connection.close()


def assert_idle_soon(server: Serving) -> None:
    began = time.monotonic()
    wait_for(lambda: server.running() == 0, "the engine is idle", seconds=10)
    assert time.monotonic() - began < SECONDS_TO_CANCEL + SECONDS_OF_A_STEP


@pytest.mark.parametrize("stream", [False, True])
def test_a_disconnect_in_decode(server: Serving, stream):
    asking = Asking(server, PROMPTS["decode"], stream)
    generated = server.metric("nacelle_generated_tokens_total")
    wait_for(lambda: server.metric("nacelle_generated_tokens_total") > generated + 3, "tokens come")
    wait_for(lambda: server.running() == 1, "the engine has it")
    asking.leave()
    assert_idle_soon(server)


@pytest.mark.parametrize("stream", [False, True])
def test_a_disconnect_in_prefill(server: Serving, stream):
    generated = server.metric("nacelle_generated_tokens_total")
    asking = Asking(server, f"{stream} {PROMPTS['prefill']}", stream)
    wait_for(lambda: server.running() == 1, "the engine has it")
    asking.leave()
    assert_idle_soon(server)
    assert server.metric("nacelle_generated_tokens_total") == generated  # it never got beyond its prompt


@pytest.mark.parametrize("stream", [False, True])
def test_a_disconnect_in_the_queue(start, stream):
    server = start("--max-num-seqs", "1")
    first = Asking(server, PROMPTS["decode"], True)
    wait_for(lambda: first.chunks > 2, "the first one streams")
    second = Asking(server, PROMPTS["decode"], stream)
    wait_for(lambda: server.metric("nacelle_requests_queued") == 1, "the second one waits")
    second.leave()
    wait_for(
        lambda: server.metric("nacelle_requests_queued") == 0, "it left the queue", seconds=SECONDS_TO_CANCEL
    )
    before = first.chunks
    wait_for(lambda: first.chunks > before, "the first one goes on")
    wait_for(lambda: server.running() == 1, "the engine has it")
    first.leave()
    assert_idle_soon(server)


def test_a_request_past_its_time_is_ended_with_a_504(start):
    server = start("--request-timeout-seconds", "1")
    answer = server.chat("Tell a long story.", **LONG)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "request_timeout"
    assert_idle_soon(server)


def test_a_full_queue_is_a_429_that_says_when_to_come_back(start):
    server = start("--max-num-seqs", "1", "--max-queue", "1")
    first, second = (Asking(server, PROMPTS["decode"], True) for _ in range(2))
    wait_for(lambda: server.metric("nacelle_requests_queued") == 1, "one runs and one waits")
    refused = server.chat()
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["error"]["code"] == "queue_full"
    first.leave()
    second.leave()
