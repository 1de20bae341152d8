"""The server as a process: start, stop, what it leaves behind, and what it has loaded."""

import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.server import free_port, nacelle_command
from tests.e2e.serving import MODEL, Serving, is_alive, maps_of, wait_for

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
RESPONSE = {"model": MODEL, "input": "Tell.", "max_output_tokens": 600, "ignore_eos": True}
TOKENIZE = {"model": MODEL, "prompt": "hi"}
LONG = {"max_tokens": 600, "ignore_eos": True}


def shared_memory_files() -> set[pathlib.Path]:
    return set(pathlib.Path("/dev/shm").iterdir())


def test_the_serving_frontend_has_no_native_engine_mapped_and_its_host_has(start):
    server = start()
    assert server.chat().status_code == 200
    assert "openvino" in maps_of(server.host_pid())
    assert "openvino" not in maps_of(server.pid)
    assert "numpy" not in maps_of(server.pid)


def test_sigterm_finishes_what_runs_and_exits_with_zero(start):
    server = start()
    answers: list = []
    asking = threading.Thread(target=lambda: answers.append(server.chat("Tell a story.", **LONG)))
    asking.start()
    wait_for(lambda: server.running() == 1, "the request runs")
    host = server.host_pid()
    os.kill(server.pid, signal.SIGTERM)
    asking.join(60)
    assert answers[0].status_code == 200
    assert answers[0].json()["usage"]["completion_tokens"] == LONG["max_tokens"]
    assert server.wait_for_exit() == 0
    assert not is_alive(host)


def test_a_drain_budget_that_is_over_ends_the_rest_with_an_error(start):
    server = start("--drain-seconds", "0.5")
    answers: list = []
    asking = threading.Thread(
        target=lambda: answers.append(server.chat("Tell.", max_tokens=4000, ignore_eos=True))
    )
    asking.start()
    wait_for(lambda: server.running() == 1, "the request runs")
    os.kill(server.pid, signal.SIGTERM)
    asking.join(60)
    assert answers[0].status_code == 503
    assert answers[0].json()["error"]["code"] == "shutting_down"
    assert server.wait_for_exit() == 0


@pytest.mark.parametrize("store", ["memory:", "sqlite:{}/sessions.db"])
def test_what_is_to_be_kept_is_kept_also_while_the_server_drains(start, tmp_path, store):
    server = start("--session-store", store.format(tmp_path))
    assert server.chat("I am Ada.", session_id="ada").status_code == 200
    questions = [
        lambda: server.chat("Tell a story.", session_id="ada", **LONG),
        lambda: server.http.post(
            "/v1/responses",
            json={"model": MODEL, "input": "Tell.", "max_output_tokens": 600, "ignore_eos": True},
        ),
    ]
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(question) for question in questions]
        wait_for(lambda: server.running() == len(questions), "they run")
        os.kill(server.pid, signal.SIGTERM)
        assert [answer.result().status_code for answer in answers] == [200, 200]
    assert server.wait_for_exit() == 0


def test_a_server_whose_runtime_folder_was_removed_still_replaces_its_hosts(start, short_path):
    server = start(XDG_RUNTIME_DIR=str(short_path))
    assert list(short_path.glob("nacelle-*"))
    shutil.rmtree(short_path)  # as logind does at the last logout
    server.wait_for_replacement(server.kill_host(signal.SIGKILL))
    assert server.chat().status_code == 200
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait_for_exit() == 0


def test_a_client_that_leaves_while_the_model_loads_gives_its_place_back(qwen3_ir):
    # A host that cannot go on loading: stopped, as if the disk were slow.
    with Serving([str(qwen3_ir), "--name", MODEL], ["--max-queue", "2"], {}) as server:
        wait_for(lambda: server.status("/health") == 200, "it listens")
        wait_for(server.hosts, "its host runs")[0].suspend()
        for endpoint, body in [("/v1/chat/completions", CHAT), ("/tokenize", TOKENIZE)]:
            clients = [http.client.HTTPConnection("127.0.0.1", server.port) for _ in range(2)]
            for asking in clients:
                asking.request("POST", endpoint, json.dumps(body))
            wait_for(lambda: server.metric("nacelle_requests_queued") == 2, "they wait")
            for leaving in clients:
                leaving.close()
            wait_for(lambda: server.metric("nacelle_requests_queued") == 0, "they are forgotten")
        server.hosts()[0].resume()
        assert server.wait_until_ready().chat().status_code == 200


def test_sigterm_while_loading_exits_with_zero(qwen3_ir):
    with Serving([str(qwen3_ir), "--name", MODEL], (), {}) as server:
        wait_for(lambda: server.status("/health") == 200, "it listens")
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait_for_exit() == 0


def test_a_killed_frontend_takes_its_hosts_with_it_and_a_restart_works_at_once(start):
    before = shared_memory_files()
    server = start("--replicas", "2")
    hosts = [process.pid for process in server.hosts()]
    assert len(hosts) == 2
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, hosts)), "the hosts are gone", seconds=1.0)
    assert shared_memory_files() == before
    again = start(port=server.port)
    assert again.chat().status_code == 200


def test_everything_killed_at_once_leaves_nothing_that_stops_a_restart(start, short_path):
    server = start(XDG_RUNTIME_DIR=str(short_path))
    for pid in [*(process.pid for process in server.hosts()), server.pid]:
        os.kill(pid, signal.SIGKILL)
    server.wait_for_exit()
    again = start(XDG_RUNTIME_DIR=str(short_path))
    assert again.chat().status_code == 200
    assert len(list(short_path.iterdir())) == 1  # the dead server's sockets were swept


def test_a_port_that_is_taken_ends_the_server_with_a_message(start, qwen3_ir):
    taken = start()
    command = [*nacelle_command(), "serve", str(qwen3_ir), "--port", str(taken.port)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert f"port {taken.port}" in second.stderr
    assert "choose another port with --port" in second.stderr


def test_a_model_that_never_loads_ends_the_server(qwen3_ir, tmp_path):
    for file in qwen3_ir.iterdir():
        (tmp_path / file.name).write_bytes(b"" if file.name == "openvino_model.bin" else file.read_bytes())
    command = [*nacelle_command(), "serve", str(tmp_path), "--name", "cut", "--port", str(free_port())]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1
    assert f"model 'cut' could not be loaded: {tmp_path / 'openvino_model.bin'} " in run.stderr


def test_a_host_py_in_the_current_folder_changes_nothing(qwen3_ir, tmp_path, monkeypatch):
    for name in ("host.py", "ipc.py", "openvino.py"):
        pathlib.Path(tmp_path, name).write_text("raise SystemExit('the wrong module ran')\n")
    monkeypatch.chdir(tmp_path)
    with Serving([str(qwen3_ir), "--name", MODEL], (), {}) as server:
        assert server.wait_until_ready().chat().status_code == 200


def test_several_models_are_served_side_by_side(qwen3_ir, tmp_path):
    config = tmp_path / "nacelle.toml"
    config.write_text(
        f'[[models]]\nname = "one"\nsource = "{qwen3_ir}"\n'
        '[[models]]\nname = "two"\nsource = "synthetic:1000"\n'
    )
    with Serving([], ["--config", str(config)], {}) as server:
        server.wait_until_ready("one").wait_until_ready("two")
        for model in ("one", "two"):
            assert server.chat(model=model).json()["model"] == model
        assert [model["id"] for model in server.http.get("/v1/models").json()["data"]] == ["one", "two"]


def test_strangers_are_kept_out(start):
    server = start("--api-key", "secret")
    assert server.http.get("/v1/models").status_code == 401
    assert server.http.get("/health").status_code == 200
    assert server.http.get("/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_a_rebound_name_and_a_foreign_page_are_refused(start):
    server = start()
    assert server.http.get("/v1/models", headers={"Host": "evil.example"}).status_code == 403
    assert server.http.get("/v1/models", headers={"Origin": "https://evil.example"}).status_code == 403
    local = server.http.get("/v1/models", headers={"Origin": "http://localhost:3000"})
    assert local.headers["access-control-allow-origin"] == "http://localhost:3000"


def test_listening_beyond_this_machine_without_a_key_is_refused(qwen3_ir):
    command = [*nacelle_command(), "serve", str(qwen3_ir), "--host", "0.0.0.0"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "API key" in run.stderr
