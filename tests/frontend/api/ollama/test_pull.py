"""Downloads as Ollama's progress, and who ends them."""

import asyncio
import json
import sys

import falcon.asgi
import msgspec
import pytest

from frontend.api.errors import install
from frontend.api.ollama.progress import ProgressLines
from frontend.api.ollama.pull import Pull
from frontend.config import Settings
from frontend.download_job import command_of
from frontend.downloads import Download, Downloads
from frontend.errors import DownloadFailed
from frontend.http.stack import with_stack
from frontend.models.pulling import Order
from frontend.observability.metrics import Metrics
from tests.frontend.http.serving import Connected, with_connection

# A process that reports what a pull reports, and then waits to be ended.
PULLS = """
import sys, time
print('{"event":"step","text":"Fetching"}', '{"event":"progress","done":0,"total":8}', sep="\\n", flush=True)
print('{"event":"progress","done":5,"total":8}', flush=True)
if sys.argv[1] == "ends":
    print('{"event":"done","name":"m","path":"/m","source":"m"}', flush=True)
elif sys.argv[1] == "fails":
    print('{"event":"failed","error":"no room"}', flush=True)
else:
    sys.stdin.read()
"""


def download(**fields) -> Download:
    return Download(id="dl_1", source="m", created=0.0, **fields)


def objects(*downloads):
    lines = ProgressLines()
    return [msgspec.to_builtins(each) for given in downloads for each in lines.after(given)]


def test_each_step_has_a_digest_of_its_own_and_nothing_is_said_twice():
    fetching = {"state": "running", "step": "Fetching", "total_bytes": 8}
    said = objects(
        download(),
        download(state="running", step="Starting"),
        download(state="running", step="Starting"),
        download(**fetching),
        download(**fetching, done_bytes=5),
        download(**fetching, done_bytes=5),
        download(state="running", step="Checking", total_bytes=8, done_bytes=8),
        download(state="done", model="m"),
    )
    digest, other = said[1]["digest"], said[3]["digest"]
    assert said == [
        {"status": "Starting"},
        {"status": f"pulling {digest[7:19]}", "digest": digest, "total": 8},
        {"status": f"pulling {digest[7:19]}", "digest": digest, "total": 8, "completed": 5},
        {"status": f"pulling {other[7:19]}", "digest": other, "total": 8, "completed": 8},
        {"status": "verifying sha256 digest"},
        {"status": "writing manifest"},
        {"status": "success"},
    ]
    assert digest.startswith("sha256:")
    assert digest != other


@pytest.mark.parametrize("state", ["failed", "cancelled", "paused"])
def test_an_end_without_a_model_is_an_error(state):
    with pytest.raises(DownloadFailed, match="no room" if state == "failed" else state):
        objects(download(state=state, error="no room" if state == "failed" else None))


def pulling(how: str, scenario) -> None:
    """POST /api/pull on a socket, where a download's process `how`: ends, fails or waits."""

    def command(order: Order) -> list[str]:
        return [sys.executable, "-c", PULLS, how]

    async def run(connected: Connected) -> None:
        downloads = Downloads(None, check=lambda source, name: None, command=command)
        app.add_route("/api/pull", Pull(downloads))
        try:
            await scenario(connected, downloads)
        finally:
            await downloads.close()

    app = falcon.asgi.App()
    install(app)
    with_connection(run, with_stack(app, Settings(), Metrics()))


def asked(**fields) -> bytes:
    body = json.dumps({"model": "m", **fields}).encode()
    head = f"POST /api/pull HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}"
    return head.encode() + b"\r\n\r\n" + body


async def answer(connected: Connected) -> tuple[bytes, list[dict]]:
    head, _, body = (await connected.heard_all()).partition(b"\r\n\r\n")
    return head, [json.loads(line) for line in body.splitlines() if line.startswith(b"{")]


@pytest.mark.parametrize(("how", "last"), [("ends", {"status": "success"}), ("fails", {"error": "no room"})])
def test_a_stream_ends_with_success_or_an_error(how, last):
    async def scenario(connected, downloads):
        await connected.say(asked())
        head, lines = await answer(connected)
        assert b"200 OK" in head
        assert b"application/x-ndjson" in head
        assert (lines[0], lines[-1]) == ({"status": "pulling manifest"}, last)

    pulling(how, scenario)


@pytest.mark.parametrize(("how", "status"), [("ends", b"200"), ("fails", b"503")])
def test_without_a_stream_the_end_is_the_answer(how, status):
    async def scenario(connected, downloads):
        await connected.say(asked(stream=False))
        head, lines = await answer(connected)
        assert status in head.split(b"\r\n")[0]
        assert lines == [{"status": "success"} if how == "ends" else {"error": "no room"}]

    pulling(how, scenario)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("others", [True, False], ids=["of others", "its own"])
def test_a_client_that_leaves_ends_the_download_that_it_began(stream, others):
    async def scenario(connected, downloads):
        if others:
            downloads.start("m")
        await connected.say(asked(stream=stream))
        while not (all_ := downloads.list()) or all_[0].done_bytes != 5:
            await asyncio.sleep(0.01)
        connected.writer.transport.abort()
        while connected.server.server_state.tasks:
            await asyncio.sleep(0.01)
        assert downloads.list()[0].state == ("running" if others else "cancelled")

    pulling("waits", scenario)


def test_the_secrets_of_a_url_are_neither_shown_nor_on_the_command_line():
    orders = []
    source = "https://me:hunter2@x.example/m.gguf?sig=abcdef"
    echo = "import json, sys; print(json.dumps({'event': 'failed', 'error': sys.stdin.readline()}))"

    def command(order: Order) -> list[str]:
        orders.append(order)
        assert "hunter2" not in " ".join(command_of(order))
        return [sys.executable, "-c", echo]

    async def run() -> None:
        downloads = Downloads(None, check=lambda source, name: None, command=command)
        try:
            id = downloads.start(source).id
            assert downloads.start(source).id == id
            async for each in downloads.follow(id):
                assert each.source == "https://x.example/m.gguf"
            assert json.loads(each.error or "")["source"] == source
        finally:
            await downloads.close()

    asyncio.run(run())
    assert [order.source for order in orders] == [source]
