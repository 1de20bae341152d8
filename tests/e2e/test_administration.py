"""Administration of a running server over HTTP and by SIGHUP. Its hosts are real processes with the synthetic
engine: nothing here is about a model's answers."""

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from frontend.routing.names import pick
from tests.e2e.serving import Serving, wait_for

BEGIN = """
[server]
max_queue = 100

[aliases]
gpt = "a"

[variants.test]
a = 0.7
b = 0.3

[[models]]
name = "a"
source = "synthetic:200"

[[models]]
name = "b"
source = "synthetic:400"
tool_format = "hermes"
"""


class Deployment:
    """A server and its settings file."""

    def __init__(self, serving: Serving, file: Path) -> None:
        self.serving = serving
        self.file = file
        self.http = serving.http

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def reload(self, **headers: str) -> httpx.Response:
        return self.http.post("/admin/reload", headers=headers)

    def post(self, action: str, **body: Any) -> httpx.Response:
        return self.http.post(f"/admin/models/{action}", json=body)

    def status(self, name: str) -> dict[str, Any]:
        status: dict[str, Any] = self.http.get(f"/admin/models/{name}").json()
        return status

    def complete(self, model: str, tokens: int = 1, **fields: Any) -> httpx.Response:
        body = {"model": model, "prompt": "a", "max_tokens": tokens, **fields}
        return self.http.post("/v1/completions", json=body)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("administration")
    file = folder / "nacelle.toml"
    file.write_text(BEGIN)
    with Serving([], ["--config", str(file)], {"XDG_DATA_HOME": str(folder)}) as serving:
        for name in ("a", "b"):
            serving.wait_until_ready(name)
        yield Deployment(serving, file)


@pytest.fixture
def began(deployment: Deployment) -> Iterator[Deployment]:
    """The deployment as it began, whatever a test makes of it."""
    yield deployment
    deployment.write(BEGIN)
    assert deployment.reload().status_code == 200
    for name in ("a", "b"):
        deployment.serving.wait_until_ready(name)


def test_models_are_unloaded_loaded_and_pinned(deployment):
    assert [model["name"] for model in deployment.http.get("/admin/models").json()["models"]] == ["a", "b"]
    assert deployment.status("gpt")["name"] == "a"
    assert deployment.status("a")["aliases"] == ["gpt"]
    assert deployment.post("unload", model="a").json()["state"] == "unloaded"
    assert deployment.post("load", model="gpt", keep_alive=600).json()["state"] == "ready"
    assert deployment.status("a")["expires_at"] is not None
    assert deployment.post("pin", model="a", pinned=True).json()["pinned"] is True
    assert deployment.post("pin", model="a", pinned=False).json()["pinned"] is False


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"model": "c"}, 404, "the model 'c' does not exist"),
        ({"model": "./m.gguf"}, 400, "'./m.gguf' is a local path, which is not accepted over HTTP"),
        ({"model": "/etc/passwd"}, 400, "is a local path"),
        ({}, 400, "model is missing"),
        ({"model": "a", "keep": 1}, 400, "unknown field `keep`"),
        ({"model": "a", "keep_alive": "later"}, 400, "keep_alive"),
    ],
)
def test_a_wrong_request_is_told_what_is_wrong(deployment, body, status, words):
    answer = deployment.post("load", **body)
    assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), answer.text


def test_an_alias_is_switched_at_once(began):
    def answering() -> str:
        return str(began.complete("gpt").headers["x-nacelle-model"])

    assert answering() == "a"
    assert began.http.post("/admin/alias", json={"alias": "gpt", "model": "b"}).json()["model"] == "b"
    assert (answering(), began.status("b")["aliases"]) == ("b", ["gpt"])
    assert began.post("alias", alias="new", model="test").status_code == 200
    assert began.post("alias", alias="gpt", model=None).json()["aliases"] == {"new": "test"}
    assert began.complete("gpt").status_code == 404
    for alias, model, words in (
        ("gpt", "nosuch", "'nosuch' is not a model that is served"),
        ("a", "b", "'a' is the name of a model already"),
        ("gpt", "new", "'new' is an alias itself"),
        ("gpt", "~/m", "is a local path"),
    ):
        answer = began.post("alias", alias=alias, model=model)
        assert (answer.status_code, words in answer.json()["error"]["message"]) == (400, True), answer.text
    assert began.post("alias", alias="gpt", model=None).status_code == 404


def test_variants_share_requests_as_their_weights_say_and_a_user_keeps_one(deployment):
    users = [f"user-{number}" for number in range(120)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda user: deployment.complete("test", user=user), users * 2))
    models = [answer.headers["x-nacelle-model"] for answer in answers]
    assert models == [pick({"a": 0.7, "b": 0.3}, user) for user in users] * 2
    counted = Counter(models)
    assert counted["a"] / len(models) == pytest.approx(0.7, abs=0.12)
    for model, count in counted.items():
        assert deployment.serving.metric("nacelle_variant_requests_total", model=model) == count


def test_only_this_machine_may_administer_without_a_key(deployment):
    for headers in (
        {"X-Forwarded-For": "10.0.0.1"},
        {"Via": "1.1 proxy"},
        {"Origin": "https://evil.example"},
    ):
        assert deployment.reload(**headers).status_code == 403, headers
    assert deployment.http.get("/v1/models", headers={"Via": "1.1 proxy"}).status_code == 200
    assert (
        deployment.http.get("/admin/models", headers={"Origin": "http://localhost:3000"}).status_code == 200
    )


def test_with_a_key_its_holder_may_also_through_a_proxy(deployment):
    key = {"Authorization": "Bearer secret"}
    deployment.write(BEGIN.replace("[server]", '[server]\napi_key = "secret"'))
    assert deployment.reload().json()["changed"] == ["api_key"]
    assert deployment.reload().status_code == 401
    assert deployment.http.get("/admin/models", headers={**key, "Via": "1.1 proxy"}).status_code == 200
    deployment.write(BEGIN)
    assert deployment.reload(**key).json()["changed"] == ["api_key"]
    assert deployment.reload().status_code == 200


def test_a_bad_file_changes_nothing_and_says_why(deployment):
    before = deployment.http.get("/admin/models").json()
    for text, why in (
        (BEGIN + "[serve]\n", "unknown table 'serve'; did you mean 'server'?"),
        (BEGIN.replace("max_queue", "max_que"), "unknown setting 'max_que'; did you mean 'max_queue'?"),
        (BEGIN + '[[models]]\nsource = "/no/such/folder"\n', "there is no file or folder /no/such/folder"),
        (BEGIN.replace('gpt = "a"', 'gpt = "c"'), "aliases: 'gpt': 'c' is not a model that is served"),
        (
            BEGIN.replace('"synthetic:200"', '"synthetic:fast"'),
            "write synthetic or synthetic:TOKENS_PER_SECOND",
        ),
    ):
        deployment.write(text)
        answer = deployment.reload()
        message = answer.json()["error"]["message"]
        assert answer.status_code == 400, text
        assert message.startswith("nothing was changed: ")
        assert why in message
        assert "\n" not in message
    deployment.file.unlink()
    assert "No such file" in deployment.reload().json()["error"]["message"]
    deployment.write(BEGIN)
    assert not any(deployment.reload().json().values())
    after = deployment.http.get("/admin/models").json()
    assert [(m["name"], m["loaded_at"]) for m in after["models"]] == [
        (m["name"], m["loaded_at"]) for m in before["models"]
    ]


def test_a_reload_under_traffic_drops_no_request(began):
    stop = threading.Event()
    statuses: list[int] = []

    def ask(model: str) -> None:
        while not stop.is_set():
            statuses.append(began.complete(model, tokens=20).status_code)

    last = threading.Event()

    def ask_the_one_that_leaves() -> list[str]:
        with began.http.stream("POST", "/v1/completions", json=long_stream("b")) as answer:
            lines = answer.iter_lines()
            next(lines)
            last.set()
            return [line for line in lines if line.startswith("data: ")]

    pid = began.serving.host_pid("a")
    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask, model) for model in ("a", "gpt", "a", "gpt")]
        leaving = pool.submit(ask_the_one_that_leaves)
        try:
            assert last.wait(30)
            changed = BEGIN.replace("synthetic:200", "synthetic:300").replace('name = "b"', 'name = "c"')
            began.write(changed.replace("b = 0.3", "c = 0.3").replace("[server]", "[server]\nport = 1"))
            plan = began.reload().json()
            assert (plan["added"], plan["removed"], plan["replaced"]) == (["c"], ["b"], ["a"])
            assert (plan["changed"], plan["needs_restart"]) == (["variants"], [])  # --port wins over the file
            assert began.complete("b").status_code == 404
            began.serving.wait_until_ready("c")
            wait_for(lambda: began.serving.host_pid("a") not in (pid, None), "a replaced")
            assert leaving.result(timeout=30)[-1] == "data: [DONE]", "what ran there was finished"
            count = len(statuses)
            wait_for(lambda: len(statuses) > count + 8, "requests after the replacement")
        finally:
            stop.set()
        for done in asking:
            done.result(timeout=30)
    assert set(statuses) == {200}
    names = [model["name"] for model in began.http.get("/admin/models").json()["models"]]
    assert sorted(names) == ["a", "c"]
    assert began.status("a")["source"] == "synthetic:300"


def long_stream(model: str) -> dict[str, Any]:
    return {"model": model, "prompt": "a", "max_tokens": 200, "stream": True}


def test_what_hosts_do_not_know_is_followed_without_a_new_host(began):
    pid = began.serving.host_pid("b")
    began.write(BEGIN.replace('"hermes"', '"mistral"').replace("max_queue = 100", "max_queue = 7"))
    os.kill(began.serving.pid, signal.SIGHUP)
    wait_for(
        lambda: "adjusted: b; changed settings: max_queue" in began.serving.log_tail(), "reload by SIGHUP"
    )
    assert began.serving.host_pid("b") == pid
    began.write("[server]\nport = many\n")
    os.kill(began.serving.pid, signal.SIGHUP)
    wait_for(
        lambda: "the settings were not reloaded, nothing was changed" in began.serving.log_tail(), "refusal"
    )


class Stream:
    """A stream of completions, read by a thread."""

    def __init__(self, deployment: Deployment, request_id: str, tokens: int) -> None:
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(deployment, request_id, tokens))
        self._thread.start()
        wait_for(lambda: len(self.lines) > 2, "the beginning of a stream")

    def _read(self, deployment: Deployment, request_id: str, tokens: int) -> None:
        body = {"model": "a", "prompt": "a", "max_tokens": tokens, "stream": True}
        headers = {"X-Request-ID": request_id}
        with deployment.http.stream("POST", "/v1/completions", json=body, headers=headers) as answer:
            self.lines.extend(line for line in answer.iter_lines() if line)

    def end(self) -> list[str]:
        self._thread.join(30)
        return self.lines


def in_flight(deployment: Deployment) -> dict[str, dict[str, Any]]:
    requests = deployment.http.get("/admin/requests").json()["requests"]
    return {request["id"]: request for request in requests}


def test_a_stream_goes_on_when_its_host_is_killed_by_an_administrator(deployment):
    stream = Stream(deployment, "kept", tokens=150)
    before = deployment.http.get("/admin/hosts/a/0").json()
    assert (before["state"], before["running"]) == ("ready", 1)
    killed = deployment.http.post("/admin/hosts/a/0/kill")
    assert killed.status_code == 202
    assert killed.json()["state"] != "ready"
    assert killed.json()["pid"] != before["pid"]
    assert stream.end()[-1] == "data: [DONE]"
    assert len(stream.lines) == 151
    after = deployment.http.get("/admin/hosts/a/0").json()
    assert after["pid"] != before["pid"]
    incident = deployment.http.get(f"/admin/incidents/{after['last_incident']['id']}").json()
    assert (incident["cause"], incident["requests"]["held"], incident["requests"]["resumed"]) == (
        "killed",
        1,
        1,
    )
    assert "by an administrator" in incident["summary"]
    assert incident["memory_bytes"] > 0
    assert deployment.http.get("/admin/incidents").json()["incidents"][0] == incident
    assert deployment.http.get("/admin/refusals").json() == {"refusals": []}


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/admin/hosts/a/7/kill", 404, "not_found"),
        ("/admin/hosts/nosuch/0/kill", 404, "model_not_found"),
        ("/admin/hosts/a/0/tickle", 405, "method_not_allowed"),
        ("/admin/requests/nosuch/cancel", 404, "not_found"),
        ("/admin/requests/nosuch", 405, "method_not_allowed"),
    ],
)
def test_what_there_is_not_cannot_be_administered(deployment, path, status, code):
    answer = deployment.http.post(path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_host_is_replaced_once_its_requests_are_done(deployment):
    stream = Stream(deployment, "finished", tokens=60)
    pid = deployment.serving.host_pid("a")
    assert deployment.http.post("/admin/hosts/a/0/restart").json()["state"] == "draining"
    assert deployment.http.post("/admin/hosts/a/0/restart").status_code == 409
    assert stream.end()[-1] == "data: [DONE]"
    wait_for(lambda: deployment.http.get("/admin/hosts/a/0").json()["pid"] != pid, "another process")
    deployment.serving.wait_until_ready("a")
    ids = [incident["id"] for incident in deployment.http.get("/admin/incidents").json()["incidents"]]
    assert len(ids) == len(set(ids))


def test_requests_are_listed_and_cancelled(deployment):
    stream = Stream(deployment, "mine", tokens=10_000)
    shown = in_flight(deployment)["mine"]
    assert (shown["model"], shown["route"], shown["phase"]) == ("a", "/v1/completions", "running")
    assert shown["completion_tokens"] > 0
    assert shown["stream"] is True
    assert deployment.http.delete("/admin/requests/mine").json() == {"id": "mine", "cancelled": 1}
    error = json.loads(stream.end()[-1].removeprefix("data: "))["error"]
    assert error["code"] == "request_cancelled"
    wait_for(lambda: not in_flight(deployment), "the end of the request")
    wait_for(lambda: not deployment.http.get("/admin/hosts/a/0").json()["running"], "a free slot")
    with ThreadPoolExecutor(1) as pool:
        body = {"model": "a", "prompt": "a", "max_tokens": 10_000}
        headers = {"X-Request-ID": "a/b"}
        asking = pool.submit(deployment.http.post, "/v1/completions", json=body, headers=headers)
        wait_for(lambda: in_flight(deployment).get("a/b", {}).get("phase") == "running", "a request")
        assert deployment.http.post("/admin/requests/a/b/cancel").status_code == 200
        assert (asking.result(30).status_code, asking.result().json()["error"]["code"]) == (
            410,
            error["code"],
        )


def test_status_and_stats_count_what_was_answered(deployment):
    before = deployment.http.get("/admin/stats").json()["models"]["a"]
    assert deployment.complete("gpt", 5).status_code == 200
    after = deployment.http.get("/admin/stats").json()
    assert after["models"]["a"]["outcomes"]["ok"] == before["outcomes"].get("ok", 0) + 1
    assert after["models"]["a"]["completion_tokens"] == before["completion_tokens"] + 5
    assert after["total"]["mean_first_token_seconds"] > 0
    assert after["memory_bytes"]["frontend"] > 0
    status = deployment.http.get("/v1/status").json()
    assert (status["status"], status["queue_size"], status["active_requests"]) == ("ok", 0, 0)
    assert status["max_concurrent_requests"] == sum(model["slots"] for model in status["models"]) > 0
    assert {worker["model"] for worker in status["workers"]} == {"a", "b"}
    assert not {"pid", "path", "source"} & {key for worker in status["workers"] for key in worker}


def test_events_show_the_state_now_and_changes_until_the_server_stops(deployment):
    """The last test of this module: it stops the server."""
    events: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []  # of hosts and incidents

    def listen() -> None:
        with deployment.http.stream("GET", "/admin/events") as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            kind = ""
            for line in answer.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    (events if kind == "model" else others).append(event)

    with ThreadPoolExecutor(1) as pool:
        listening = pool.submit(listen)
        try:
            wait_for(states(events, "b", "ready"), "the state now")
            deployment.post("unload", model="b")
            wait_for(states(events, "b", "unloaded"), "a change")
            wait_for(lambda: any(e["model"] == "b" and e["state"] == "stopped" for e in others), "its host")
            deployment.http.post("/admin/hosts/a/0/kill")
            wait_for(lambda: any(e["model"] == "a" and e.get("signal") for e in others), "an incident")
            deployment.post("alias", alias="gpt", model="b")
            wait_for(lambda: any(e["name"] == "b" and e["status"]["aliases"] for e in events), "an alias")
        finally:
            os.kill(deployment.serving.pid, signal.SIGTERM)
        listening.result(timeout=10)
    assert deployment.serving.wait_for_exit() == 0


def states(events: list[dict[str, Any]], name: str, state: str) -> Callable[[], bool]:
    return lambda: any(event["name"] == name and event["status"]["state"] == state for event in events)
