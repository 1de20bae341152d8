"""What the log says while a server starts and stops, and what a second signal does."""

import contextlib
import os
import signal
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.serving import Serving, is_alive, wait_for

MODEL = "synthetic"
SLOW = "synthetic:20"  # tokens per second
LONG = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Tell."}],
    "max_tokens": 4000,
    "stream": True,
}
STOP_SECONDS = 5.0  # far less than the time that is allowed for draining


@pytest.fixture
def server() -> Iterator[Serving]:
    # Where a shell runs the tests in the background, SIGINT is ignored, and that would be inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Serving([SLOW], (), {}) as serving:
            yield serving.wait_until_ready(MODEL)
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def streams(server: Serving, count: int) -> Iterator[None]:
    """Requests that stream for minutes."""
    with contextlib.ExitStack() as stack:
        begun = []
        for _ in range(count):
            response = stack.enter_context(server.http.stream("POST", "/v1/chat/completions", json=LONG))
            assert response.status_code == 200
            begun.append(response.iter_lines())
            next(begun[-1])
        yield


def logged(server: Serving, text: str) -> None:
    wait_for(lambda: text in server.log_tail(), f"the log says: {text}")


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")], ids=["SIGINT", "SIGTERM"]
)
def test_a_second_signal_stops_at_once_what_the_log_says_is_awaited(server, number, name):
    host = server.host_pid(MODEL)
    with contextlib.suppress(httpx.RemoteProtocolError), streams(server, 2):
        os.kill(server.pid, number)
        logged(server, f"waiting at most 30 s for 2 requests; another {name} stops now")
        assert server._process.poll() is None
        os.kill(server.pid, number)  # as soon as it is offered
        assert server.wait_for_exit(STOP_SECONDS) == 128 + number
    wait_for(lambda: not is_alive(host), "the host is gone")
    assert "Traceback" not in server.log_tail()


def test_a_signal_that_a_wrapper_repeats_counts_once(server):
    with contextlib.suppress(httpx.RemoteProtocolError), streams(server, 1):
        for _ in range(3):
            os.kill(server.pid, signal.SIGINT)
        logged(server, "waiting at most 30 s for 1 request; another Ctrl-C stops now")
        os.kill(server.pid, signal.SIGINT)
        assert server.wait_for_exit(STOP_SECONDS) == 128 + signal.SIGINT


def test_with_nothing_to_wait_for_there_is_nothing_to_say(server):
    os.kill(server.pid, signal.SIGINT)
    assert server.wait_for_exit() == 0
    assert "waiting at most" not in server.log_tail()


def test_background_responses_are_awaited_too(server):
    body = {"model": MODEL, "input": "Tell.", "max_output_tokens": 4000, "background": True}
    assert server.http.post("/v1/responses", json=body).status_code == 200
    os.kill(server.pid, signal.SIGINT)
    logged(server, "for 1 background response; another Ctrl-C stops now")
    os.kill(server.pid, signal.SIGINT)
    assert server.wait_for_exit(STOP_SECONDS) == 128 + signal.SIGINT


def test_what_does_not_finish_in_time_is_counted_in_the_log():
    with Serving([SLOW], ("--drain-seconds", "0.5"), {}) as server:
        server.wait_until_ready(MODEL)
        with contextlib.suppress(httpx.RemoteProtocolError), streams(server, 1):
            os.kill(server.pid, signal.SIGTERM)
            assert server.wait_for_exit() == 0
        assert "ending what did not finish in time: 1 request" in server.log_tail()


def test_the_log_names_device_context_cache_threads_and_weights(qwen3_ir):
    with Serving([str(qwen3_ir), "--name", "m"], ("--kv-cache-gib", "0.25", "--threads", "1"), {}) as server:
        server.wait_until_ready("m")
        line = next(line for line in server.log_tail().splitlines() if "m/0 is ready on " in line)
    for part in ("context ", "KV cache up to 0.25 GiB (", "1 thread, ", "weights fp", "loaded in "):
        assert part in line
