"""Streamed answers of Falcon resources inside all layers, on a real socket: the same with `nacelle.writer` as
without."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import falcon.asgi
import pytest

from frontend.api import sse
from frontend.api.errors import install
from frontend.config import Settings
from frontend.errors import ClientGone, EngineCrashed, QueueFull
from frontend.http.asgi import Application
from frontend.http.client import client_of
from frontend.http.stack import with_stack
from frontend.observability.metrics import Metrics
from tests.frontend.http.items import Items
from tests.frontend.http.serving import Connected, with_connection, with_writer, without_writer

ASK = b"POST /stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"

Way = Callable[[Application], Application]
EVERY_WAY = pytest.mark.parametrize("way", [with_writer, without_writer])
EVERY_PATIENCE = pytest.mark.parametrize("patience", [60.0, 0.0], ids=["soon", "late"])


class Streaming:
    """POST /stream. The stream begins when the test opens the gate."""

    def __init__(self) -> None:
        self.items = Items()
        self.gate = asyncio.Event()
        self.refusal: Exception | None = None
        self.finishing: Exception | None = None
        self.finished = False
        self.closes = 0
        self.metrics = Metrics()

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        await request.stream.read()
        client_of(request.scope).on_leave(lambda: self.items.fail(ClientGone()))
        await sse.respond_streaming(request, response, self._begin())

    async def _begin(self) -> sse.Stream[bytes]:
        await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        return sse.Stream(
            self.items, b"".join, lambda: b"data: usage\n\n", self._close, b"data: opening\n\n", self._finish
        )

    async def _finish(self) -> None:
        if self.finishing is not None:
            raise self.finishing
        self.finished = True

    def _close(self) -> None:
        self.closes += 1

    def outcome(self, name: str, status: str = "200") -> float:
        labels = {"route": "unknown", "status": status, "outcome": name}
        return self.metrics.registry.get_sample_value("nacelle_requests_total", labels) or 0.0


def stream(
    streaming: Streaming,
    way: Way,
    scenario: Callable[[Connected], Awaitable[None]],
    patience: float = 60.0,
) -> None:
    app: Any = falcon.asgi.App()
    install(app)
    app.add_route("/stream", streaming)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "PATIENCE_SECONDS", patience)
        with_connection(scenario, with_stack(way(app), Settings(), streaming.metrics))


async def events(connection: Connected) -> list[bytes]:
    """The events of the whole answer, as they came."""
    heard = await connection.heard_all()
    return [
        line.removeprefix(b"data: ")
        for line in heard.split(b"\r\n")
        for line in line.split(b"\n\n")
        if line.startswith(b"data: ")
    ]


@EVERY_WAY
@EVERY_PATIENCE
def test_a_stream_has_an_opening_items_an_ending_and_done(way: Way, patience: float) -> None:
    streaming = Streaming()

    async def scenario(connection: Connected) -> None:
        await connection.say(ASK)
        streaming.gate.set()
        await connection.reader.readuntil(b"opening")
        streaming.items.put(b"data: 1\n\n")
        await connection.reader.readuntil(b"data: 1\n\n")
        assert not streaming.finished
        streaming.items.put(b"data: 2\n\n", b"data: 3\n\n")
        streaming.items.end()
        assert await events(connection) == [b"2", b"3", b"usage", b"[DONE]"]

    stream(streaming, way, scenario, patience)
    assert (streaming.finished, streaming.closes, streaming.outcome("ok")) == (True, 1, 1)


@EVERY_WAY
@EVERY_PATIENCE
@pytest.mark.parametrize(
    ("error", "code"),
    [(EngineCrashed("it died"), "engine_crashed"), (ValueError("a secret"), "internal_error")],
)
@pytest.mark.parametrize("where", ["source", "finish"])
def test_an_error_is_the_last_event_and_the_outcome_and_there_is_no_done(
    way: Way, error: Exception, code: str, where: str, patience: float
) -> None:
    streaming = Streaming()

    async def scenario(connection: Connected) -> None:
        await connection.say(ASK)
        streaming.gate.set()
        await connection.reader.readuntil(b"opening")
        streaming.items.put(b"data: 1\n\n")
        if where == "source":
            streaming.items.fail(error)
        else:
            streaming.finishing = error
            streaming.items.end()
        item, last = await events(connection)
        assert item == b"1"
        assert json.loads(last)["error"]["code"] == code
        assert b"secret" not in last

    stream(streaming, way, scenario, patience)
    assert (streaming.finished, streaming.closes, streaming.outcome(code)) == (False, 1, 1)


@EVERY_WAY
def test_a_refusal_is_an_http_error_or_an_event_and_the_outcome_in_both_cases(way: Way) -> None:
    for patience, status in ((60.0, "429"), (0.0, "200")):
        streaming = Streaming()
        streaming.refusal = QueueFull("full")

        async def scenario(connection: Connected, streaming: Streaming = streaming) -> None:
            await connection.say(ASK)
            streaming.gate.set()
            assert b'"code":"queue_full"' in await connection.heard_all()

        stream(streaming, way, scenario, patience)
        assert streaming.outcome("queue_full", status) == 1


@EVERY_WAY
@EVERY_PATIENCE
def test_a_client_that_leaves_closes_the_stream_and_is_its_outcome(way: Way, patience: float) -> None:
    streaming = Streaming()

    async def scenario(connection: Connected) -> None:
        await connection.say(ASK)
        streaming.gate.set()
        await connection.reader.readuntil(b"opening")
        streaming.items.put(b"data: 1\n\n")
        connection.writer.transport.abort()
        while not streaming.closes:
            await asyncio.sleep(0)

    stream(streaming, way, scenario, patience)
    assert (streaming.finished, streaming.closes, streaming.outcome("client_gone")) == (False, 1, 1)
