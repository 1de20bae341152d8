"""Remote replicas and servers that are not what they are taken for."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from frontend.remote import connection
from frontend.remote.wire import Hello, encode, encode_hello, own_hello
from frontend.supervision.lifecycle import State
from ipc.messages import Fatal, Ready, TextCard
from tests.frontend.remote.servers import Told, serving, until
from tests.frontend.routing.hosts import CARD


def in_a_loop(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def peer(talk: Callable[[web.WebSocketResponse], Awaitable[None]], hello: Hello | None = None) -> Any:
    """A server of work that greets and then does as `talk` says."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if not request.path.startswith("/internal/work/"):
            return web.json_response({"object": "list", "data": []})
        assert request.headers["Authorization"] == "Bearer k"
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        assert (await socket.receive()).type is WSMsgType.TEXT
        await socket.send_str(encode_hello(hello or own_hello()))
        await talk(socket)
        return socket

    return handler


async def stay(socket: web.WebSocketResponse) -> None:
    async for _ in socket:
        pass


def test_a_peer_becomes_a_replica_and_is_left_when_it_is_stopped():
    async def scenario():
        async def talk(socket):
            await socket.send_bytes(encode([Ready(CARD)]))
            await stay(socket)

        async with serving(peer(talk)) as url:
            told = Told()
            host = told.add(url)
            await until(lambda: host.ready)
            assert isinstance(host.card, TextCard)
            assert told.route.replicas[0].free_slots == CARD.slots
            await told.close()
            assert told.states == ["starting", "loading", "ready", "draining", "stopped"]

    in_a_loop(scenario)


@pytest.mark.parametrize(
    ("frame", "why"),
    [
        (b"\x01", "undecodable"),
        (encode([]), "without a message"),
        (encode([Fatal("no memory for it")]), "no memory for it"),
        (encode([["Release", 1, 1]]), "a lease"),
    ],
)
def test_a_peer_that_breaks_the_protocol_is_left_and_no_job_is_blamed(frame, why):
    async def scenario():
        async def talk(socket):
            await socket.send_bytes(frame)
            if b"no memory" not in frame:
                await stay(socket)

        async with serving(peer(talk)) as url:
            told = Told()
            host = told.add(url)
            await until(lambda: told.deaths)
            assert why in told.deaths[0]
            assert host.card is None
            await told.close()

    in_a_loop(scenario)


def test_a_host_that_is_stopped_in_the_turn_in_which_it_connects_is_stopped():
    async def scenario():
        async with serving(peer(stay)) as url:
            told = Told()
            told.add(url)  # the task of the connection has not begun
            async with asyncio.timeout(20):
                await told.close()

    in_a_loop(scenario)


def test_another_version_is_named_and_used_over_http():
    async def scenario():
        async with serving(peer(stay, Hello("0.0.7", "another"))) as url:
            told = Told()
            host = told.add(url)
            await until(lambda: host.life.state is State.READY)
            assert not host.takes_jobs
            assert not host.ready
            assert told.deaths == []
            await told.close()

    in_a_loop(scenario)


def test_a_server_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(connection, "HANDSHAKE_SECONDS", 0.1)

    async def scenario():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            told = Told()
            told.add(f"http://127.0.0.1:{silent.getsockname()[1]}")
            await until(lambda: told.deaths)
            assert "did not answer" in told.deaths[0]
            await told.close()

    in_a_loop(scenario)


def test_a_peer_that_answers_no_ping_is_given_up(monkeypatch):
    monkeypatch.setattr(connection, "HEARTBEAT_SECONDS", 0.2)

    async def scenario():
        released = asyncio.Event()

        async def talk(socket):
            await socket.send_bytes(encode([Ready(CARD)]))
            await released.wait()  # without reading: no ping is answered

        async with serving(peer(talk)) as url:
            told = Told()
            host = told.add(url)
            await until(lambda: host.ready)
            await until(lambda: told.deaths)
            assert told.deaths == ["it did not answer in time"]
            released.set()
            await told.close()

    in_a_loop(scenario)


def test_a_redirect_to_another_server_is_not_followed():
    async def scenario():
        asked: list[str] = []

        async def elsewhere(request):
            asked.append(request.path)
            return web.Response()

        async with serving(elsewhere) as other:

            async def redirecting(request):
                raise web.HTTPTemporaryRedirect(f"{other}{request.path}")

            async with serving(redirecting) as url:
                told = Told()
                told.add(url)
                await until(lambda: told.deaths)
                assert "redirects to another server" in told.deaths[0]
                await told.close()
        assert asked == []

    in_a_loop(scenario)


def test_a_server_that_comes_up_later_is_used():
    async def scenario():
        async def talk(socket):
            await socket.send_bytes(encode([Ready(CARD)]))
            await stay(socket)

        async with serving(peer(talk)) as url:
            port = int(url.rpartition(":")[2])
        told = Told()
        host = told.add(url)
        await until(lambda: told.deaths)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", peer(talk))
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        await until(lambda: host.ready)
        await told.close()
        await runner.cleanup()

    in_a_loop(scenario)
