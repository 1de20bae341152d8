"""Offers of a WebSocket on a real socket: accepted, refused, or ignored for lack of an implementation."""

import json
import logging

import pytest

from frontend.config import Settings
from frontend.http.asgi import Receive, Scope, Send
from frontend.http.stack import with_stack
from frontend.observability.logs import is_of_the_server
from frontend.observability.metrics import Metrics
from tests.frontend.http.serving import Connected, echo, with_connection

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
PING = b"\x81\x84\0\0\0\0ping"  # a text frame, masked by zeros
CLOSE = b"\x88\x82\0\0\0\0\x03\xe8"


async def parrot(scope: Scope, receive: Receive, send: Send) -> None:
    """Repeats what it is told, in a WebSocket; over HTTP it echoes the body."""
    if scope["type"] == "http":
        await echo(scope, receive, send)
        return
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


@pytest.mark.parametrize("parts", [[HANDSHAKE], [HANDSHAKE[:90], HANDSHAKE[90:]]], ids=["whole", "in parts"])
def test_a_websocket_reaches_the_application_through_all_layers(parts: list[bytes]) -> None:
    metrics = Metrics()

    async def scenario(connection: Connected) -> None:
        for part in parts:
            await connection.say(part)
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"x-request-id: req_" in head
        await connection.say(PING)
        assert await connection.reader.readexactly(6) == b"\x81\x04ping"
        await connection.say(CLOSE)
        assert (await connection.reader.read()).startswith(b"\x88")

    with_connection(scenario, with_stack(parrot, Settings(), metrics))
    labels = {"route": "unknown", "status": "101", "outcome": "ok"}
    assert metrics.registry.get_sample_value("nacelle_requests_total", labels) == 1


def test_an_accepted_websocket_is_not_ended_by_the_limits_of_http() -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(HANDSHAKE)
        await connection.reader.readuntil(b"\r\n\r\n")
        (protocol,) = connection.server.server_state.connections
        protocol.stop_keepalive()  # type: ignore[union-attr] # its own pings
        await connection.later(1000)
        await connection.say(PING)
        assert await connection.reader.readexactly(6) == b"\x81\x04ping"

    with_connection(scenario, parrot)


def test_a_stranger_gets_an_error_object_instead_of_a_websocket(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "filters", [is_of_the_server])

    async def scenario(connection: Connected) -> None:
        await connection.say(HANDSHAKE)
        status, body = await connection.heard()
        assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")

    with_connection(scenario, with_stack(parrot, Settings(api_key="secret"), Metrics()))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_an_offer_behind_an_unanswered_request_is_ignored() -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(b"GET /1 HTTP/1.1\r\nhost: localhost\r\n\r\n" + HANDSHAKE)
        for _ in range(2):
            assert await connection.heard() == (200, b"")

    with_connection(scenario, parrot)


def test_without_an_implementation_the_offer_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uvicorn.protocols.websockets.auto.AutoWebSocketsProtocol", None)

    async def scenario(connection: Connected) -> None:
        for _ in range(2):
            await connection.say(HANDSHAKE)
            assert await connection.heard() == (200, b"")

    with_connection(scenario, parrot)
