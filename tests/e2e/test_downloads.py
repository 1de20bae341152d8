"""Downloads as jobs of a running server. The hub is a stand-in on this machine; the model is a real IR."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.e2e.serving import Serving, is_alive, wait_for
from tests.frontend.models.sources.web_servers import HubServer

MODEL = "org/tiny-ov"


class Downloading:
    def __init__(self, hub: HubServer, server: Serving, store: Path) -> None:
        self.hub, self.server, self.store = hub, server, store

    def start(self, source: str, **fields: Any) -> dict[str, Any]:
        answer = self.server.http.post("/admin/downloads", json={"source": source, **fields})
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def state(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.http.get(f"/admin/downloads/{id}").json()
        return found

    def wait_for(self, id: str, state: str) -> dict[str, Any]:
        wait_for(lambda: self.state(id)["state"] == state, f"{id} is {state}: {self.state(id)}")
        return self.state(id)

    def children(self) -> list[psutil.Process]:
        pulls = psutil.Process(self.server.pid).children(recursive=True)
        return [child for child in pulls if "frontend.models.pulling" in " ".join(child.cmdline())]


@pytest.fixture(scope="module")
def downloading(tmp_path_factory: pytest.TempPathFactory, qwen3_ir: Path) -> Iterator[Downloading]:
    folder = tmp_path_factory.mktemp("downloads")
    hub = HubServer()
    hub.add(MODEL, {path.name: path.read_bytes() for path in qwen3_ir.iterdir() if path.is_file()})
    server = Serving(["synthetic:50"], ["--max-downloads", "1"], hub.environment(folder))
    try:
        yield Downloading(hub, server.wait_until_ready("synthetic"), folder / "store")
    finally:
        server.stop()
        hub.close()


@pytest.fixture
def slow(downloading: Downloading) -> Iterator[HubServer]:
    """The hub stops in the middle of each file until `pace` is None again."""
    hub = downloading.hub
    hub.piece = 1024 * 1024

    def hold() -> None:
        wait_for(lambda: hub.pace is None, "the test lets it go on", 60)

    hub.pace = hold
    yield hub
    hub.pace = None


def test_a_download_is_paused_resumed_followed_and_then_served(downloading, slow):
    download = downloading.start(MODEL)
    assert download["state"] in ("queued", "running")
    assert downloading.start(MODEL)["id"] == download["id"], "two orders for one model are one download"
    other = downloading.start("org/absent")
    wait_for(lambda: "Fetching" in downloading.state(download["id"])["step"], "it fetches")
    assert downloading.state(other["id"])["state"] == "queued"
    (child,) = downloading.children()
    paused = downloading.server.http.post(f"/admin/downloads/{download['id']}/pause").json()
    assert paused["state"] == "paused"
    assert not is_alive(child.pid)
    slow.pace = None
    assert "there is no repository org/absent" in downloading.wait_for(other["id"], "failed")["error"]
    assert downloading.server.http.post(f"/admin/downloads/{download['id']}/resume").status_code == 200
    with downloading.server.http.stream("GET", f"/admin/downloads/{download['id']}/events") as events:
        seen = [json.loads(line.removeprefix("data: ")) for line in events.iter_lines() if line]
    assert seen[-1]["state"] == "done"
    assert seen[-1]["model"] == MODEL
    assert [entry["id"] for entry in downloading.server.http.get("/admin/downloads").json()["data"]] == [
        other["id"],
        download["id"],
    ]
    models = {model["id"] for model in downloading.server.http.get("/v1/models").json()["data"]}
    assert MODEL in models
    answer = downloading.server.chat("Hello", model=MODEL)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["completion_tokens"] == 8


def test_a_cancelled_download_ends_its_process_and_is_forgotten_by_a_second_delete(downloading, slow):
    download = downloading.start(MODEL, name="again")
    wait_for(downloading.children, "it runs")
    (child,) = downloading.children()
    path = f"/admin/downloads/{download['id']}"
    assert downloading.server.http.delete(path).json()["state"] == "cancelled"
    assert not is_alive(child.pid)
    assert downloading.server.http.post(f"{path}/pause").status_code == 409
    assert downloading.server.http.delete(path).status_code == 200
    assert downloading.server.http.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "param", "complaint"),
    [
        ({"source": "/etc/passwd"}, "source", "is a path of this machine; only the command line takes paths"),
        ({"source": "./m.gguf"}, "source", "is a path"),
        ({"source": "file:///etc/passwd"}, "source", "write the path of a local file"),
        ({"source": "simplecache::file:///m"}, "source", "write the path of a local file"),
        ({"source": "nosuch"}, "source", "the catalogue has no 'nosuch'"),
        ({"source": "org/m", "name": "../x"}, "name", "'../x' is not a valid name"),
        ({"source": ""}, "source", "source"),
        ({"source": "org/m", "path": "/x"}, "path", "path"),
    ],
)
def test_what_cannot_be_downloaded_is_a_400_that_names_the_field(downloading, body, param, complaint):
    answer = downloading.server.http.post("/admin/downloads", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert complaint in answer.json()["error"]["message"]


def test_a_download_dies_with_its_server(downloading, slow):
    """The last test: it kills the server."""
    downloading.start(MODEL, name="orphan")
    wait_for(downloading.children, "it runs")
    (child,) = downloading.children()
    os.kill(downloading.server.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(child.pid), "the child has ended")
    assert not list(downloading.store.glob("pulled/*orphan*/*/manifest.json"))
