"""Engine hosts die in every way; the server does not, and nobody waits for ever."""

import json
import signal
import threading

import psutil
import pytest

from tests.e2e.serving import MODEL, Serving, wait_for

DEADLY = [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP]
QUICK_STALL = {"NACELLE_STALL_SECONDS": "3"}


def streamed(server: Serving, **fields: object) -> list[dict | str]:
    """The events of a streamed chat, decoded; `[DONE]` stays text."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Tell a story."}], "stream": True}
    events: list[dict | str] = []
    with server.http.stream("POST", "/v1/chat/completions", json=body | fields) as response:
        for line in response.iter_lines():
            if line:
                data = line.removeprefix("data: ")
                events.append(data if data == "[DONE]" else json.loads(data))
    return events


def in_background(action) -> tuple[threading.Thread, list]:
    results: list = []
    thread = threading.Thread(target=lambda: results.append(action()))
    thread.start()
    return thread, results


def wait_for_tokens(server: Serving, count: int = 3) -> None:
    before = server.metric("nacelle_generated_tokens_total")
    wait_for(lambda: server.metric("nacelle_generated_tokens_total") >= before + count, "tokens come")


@pytest.fixture(scope="module")
def server(qwen3_ir):
    with Serving([str(qwen3_ir), "--name", MODEL], (), QUICK_STALL) as serving:
        yield serving.wait_until_ready()


@pytest.mark.parametrize("number", DEADLY, ids=lambda n: n.name)
def test_an_idle_host_that_dies_is_replaced_and_the_next_request_answered(server: Serving, number):
    pid = server.kill_host(number)
    server.wait_for_replacement(pid)
    assert server.chat().status_code == 200
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("number", DEADLY, ids=lambda n: n.name)
def test_requests_in_flight_complete_as_if_nothing_had_happened(server: Serving, number):
    fields = {"max_tokens": 600, "ignore_eos": True, "temperature": 0}
    thread, whole = in_background(lambda: server.chat("Tell a story.", **fields))
    stream_thread, streams = in_background(lambda: streamed(server, **fields))
    wait_for(lambda: server.running() == 2, "both are running")
    wait_for_tokens(server)
    pid = server.kill_host(number)
    thread.join(60)
    stream_thread.join(60)
    (answer,), (events,) = whole, streams
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 600
    assert events[-1] == "[DONE]"
    assert server.host_pid() != pid


def test_a_request_that_comes_while_no_host_is_ready_waits_and_is_answered(server: Serving):
    pid = server.kill_host(signal.SIGKILL)
    wait_for(lambda: not server.readiness()["ready"], "the death is noticed")
    assert server.chat().status_code == 200
    assert server.host_pid() != pid


def test_restarts_are_counted_by_reason(server: Serving):
    reason = {"reason": "SIGABRT"}
    before = server.metric("nacelle_host_restarts_total", **reason)
    server.wait_for_replacement(server.kill_host(signal.SIGABRT))
    assert server.metric("nacelle_host_restarts_total", **reason) == before + 1
    assert server.chat().status_code == 200


def test_an_exception_inside_a_step_fails_one_request_and_kills_nothing(start):
    server = start(NACELLE_FAULTS="1")
    pid = server.host_pid()
    thread, neighbours = in_background(lambda: server.chat("Tell a story.", max_tokens=600, ignore_eos=True))
    wait_for(lambda: server.running() == 1, "a neighbour runs")
    answer = server.chat("[[fault:raise]]")
    thread.join(60)
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "engine_failed"
    assert neighbours[0].status_code == 200
    assert neighbours[0].json()["usage"]["completion_tokens"] == 600
    assert server.host_pid() == pid


def test_without_the_switch_a_fault_marker_is_only_text(server: Serving):
    pid = server.host_pid()
    assert server.chat("[[fault:segv]]").status_code == 200
    assert server.host_pid() == pid


def test_one_replicas_death_leaves_the_other_serving(start):
    server = start("--replicas", "2")
    wait_for(lambda: all(r["state"] == "ready" for r in server.readiness()["replicas"]), "both", 60)
    server.kill_host(signal.SIGKILL)
    wait_for(lambda: server.readiness()["replicas"][0]["state"] != "ready", "the death is noticed")
    assert server.readiness()["ready"]
    assert server.chat().status_code == 200
    assert server.readiness()["replicas"][0]["state"] != "ready"  # so the other one answered


def test_a_model_that_cannot_load_any_more_is_unavailable_and_says_why(qwen3_ir, tmp_path):
    folder = tmp_path / "ir"
    folder.mkdir()
    for file in qwen3_ir.iterdir():
        (folder / file.name).symlink_to(file)
    with Serving([str(folder), "--name", MODEL], (), {}) as server:
        server.wait_until_ready()
        (folder / "openvino_model.bin").unlink()
        (folder / "openvino_model.bin").touch()
        server.kill_host(signal.SIGKILL)
        wait_for(lambda: server.readiness()["replicas"][0]["state"] == "failed", "the breaker opens", 90)
        answer = server.chat()
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "model_unavailable"
        assert server.http.get("/health").status_code == 200
        assert server.http.get("/ready").status_code == 503
