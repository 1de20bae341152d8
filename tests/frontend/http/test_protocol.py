"""Connections on a real socket: kept, refused and given up. Where time has to pass, the loop's clock is put
forward."""

import asyncio
import json
from typing import Any

import pytest

from frontend.http.asgi import Receive, Send
from frontend.http.bounds import MAX_HEAD_BYTES
from frontend.http.protocol import LAST_READ_SECONDS, READ_SECONDS, WRITE_SECONDS
from tests.frontend.http.serving import Connected, echo, with_connection

# Go's client keeps an idle connection that long, longer than the other clients and most proxies.
LONGEST_IDLE_SECONDS = 90
GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
HALF_A_HEAD = b"POST / HTTP/1.1\r\nhost: loc"
HALF_A_BODY = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nhalf "
OFFER = (
    b"POST / HTTP/1.1\r\nconnection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABk\r\n"
    b"upgrade: h2c\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n"
)


def test_a_client_never_finds_its_idle_connection_closed_by_the_server() -> None:
    async def scenario(connection: Connected) -> None:
        for _ in range(2):
            await connection.say(GET)
            assert await connection.heard() == (200, b"")
            await connection.later(LONGEST_IDLE_SECONDS)

    with_connection(scenario)


def test_the_date_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_800_000_000.0

    async def dated(connection: Connected) -> bytes:
        await connection.say(GET)
        head = await connection.reader.readuntil(b"\r\n\r\n")
        [date] = [line for line in head.split(b"\r\n") if line.lower().startswith(b"date: ")]
        return date

    async def scenario(connection: Connected) -> None:
        nonlocal now
        before = await dated(connection)
        assert before.endswith(b"Fri, 15 Jan 2027 08:00:00 GMT")
        now += 3600
        while (after := await dated(connection)) == before:
            await connection.later(2)
        assert after.endswith(b"Fri, 15 Jan 2027 09:00:00 GMT")

    monkeypatch.setattr("uvicorn.server.time.time", lambda: now)
    with_connection(scenario)


@pytest.mark.parametrize("part", [HALF_A_HEAD, HALF_A_BODY])
def test_a_request_that_does_not_come_to_its_end_is_given_up(part: bytes) -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(GET + part)
        assert (await connection.heard())[0] == 200
        await connection.later(READ_SECONDS + 1)
        status, body = await connection.heard()
        assert (status, json.loads(body)["error"]["type"]) == (408, "invalid_request_error")
        assert await connection.reader.read() == b""

    with_connection(scenario)


@pytest.mark.parametrize("head", [b"HTTP/1.1\r\nconnection: close", b"HTTP/1.0"])
def test_an_answer_before_the_body_has_arrived_is_not_lost_in_a_reset(head: bytes) -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(b"POST / %b\r\nhost: localhost\r\ncontent-length: 3000000\r\n\r\nbegin" % head)
        for _ in range(20):
            await connection.say(b"x" * 100_000)
        assert await connection.heard() == (404, b"")
        assert await connection.reader.read() == b""
        assert connection.server.server_state.connections  # goes on reading, but not for long
        while connection.server.server_state.connections:
            await connection.later(LAST_READ_SECONDS + 1)

    with_connection(scenario, answers_at_once)


async def answers_at_once(scope: Any, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def test_a_request_that_comes_slowly_is_waited_for() -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(HALF_A_BODY)
        for _ in range(4):
            await connection.later(READ_SECONDS - 10)
            await connection.say(b"x")
        await connection.say(b"x")
        assert await connection.heard() == (200, b"half xxxxx")

    with_connection(scenario)


@pytest.mark.parametrize("part", [HALF_A_HEAD, HALF_A_BODY])
def test_the_next_request_may_take_its_time_while_one_is_answered(part: bytes) -> None:
    may_answer = asyncio.Event()

    async def patient(scope: Any, receive: Receive, send: Send) -> None:
        await may_answer.wait()
        await echo(scope, receive, send)

    async def scenario(connection: Connected) -> None:
        await connection.say(GET + part)
        await connection.later(READ_SECONDS + 1)
        may_answer.set()
        assert await connection.heard() == (200, b"")

    with_connection(scenario, patient)


@pytest.mark.parametrize("after", [b"", GET, HALF_A_HEAD, HALF_A_BODY])
def test_a_client_that_leaves_is_noticed_whatever_it_has_sent_besides(after: bytes) -> None:
    noticed = asyncio.Event()

    async def listening(scope: Any, receive: Receive, send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        noticed.set()

    async def scenario(connection: Connected) -> None:
        await connection.say(GET + after)
        connection.writer.close()
        await noticed.wait()

    with_connection(scenario, listening)


def test_a_connection_on_which_nothing_comes_is_closed() -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        await connection.heard()
        await connection.later(1000)
        assert await connection.reader.read() == b""

    with_connection(scenario)


@pytest.mark.parametrize(
    ("begin", "more"),
    [(b"GET /", b"x" * 1000), (GET.removesuffix(b"\r\n"), b"x: " + b"y" * 1000 + b"\r\n")],
    ids=["address", "headers"],
)
def test_a_head_without_an_end_is_refused(begin: bytes, more: bytes) -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(begin)
        answer = asyncio.create_task(connection.heard())
        for _ in range(2 * MAX_HEAD_BYTES // len(more)):
            if not answer.done():
                await connection.say(more)
        assert answer.done()
        assert answer.result()[0] == 431

    with_connection(scenario)


@pytest.mark.parametrize(
    "parts", [[OFFER + b"hello"], [OFFER, b"hel", b"lo"], [OFFER[:100], OFFER[100:] + b"hello"]]
)
def test_an_upgrade_is_declined_by_an_answer_without_it(parts: list[bytes]) -> None:
    async def scenario(connection: Connected) -> None:
        for _ in range(2):  # the connection can be used again
            for part in parts:
                await connection.say(part)
            assert await connection.heard() == (200, b"hello")

    with_connection(scenario)


@pytest.mark.parametrize(
    "request_", [b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\r\n\r\n"]
)
def test_what_this_server_does_not_speak_is_refused(request_: bytes) -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(request_)
        status, body = await connection.heard()
        assert (status, json.loads(body)["error"]["type"]) == (400, "invalid_request_error")

    with_connection(scenario)


async def endless(scope: Any, receive: Receive, send: Send) -> None:
    """Until the client has gone."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    await send({"type": "http.response.start", "status": 200, "headers": []})
    watching = asyncio.create_task(gone())
    while not watching.done():
        await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        await asyncio.sleep(0)


async def until_it_is_gone(connection: Connected) -> None:
    """Lets time pass until the server has no connection left."""
    while connection.server.server_state.connections:
        await connection.later(WRITE_SECONDS / 10)


def test_a_client_that_takes_nothing_in_is_given_up() -> None:
    async def scenario(connection: Connected) -> None:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await connection.say(GET)
        await until_it_is_gone(connection)

    with_connection(scenario, endless)


def test_also_where_little_is_left_to_be_written() -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(b"")
        (protocol,) = connection.server.server_state.connections
        transport: Any = protocol.transport
        transport.set_write_buffer_limits(high=2**30)
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await connection.say(GET)
        while not transport.get_write_buffer_size():
            await asyncio.sleep(0)
        await until_it_is_gone(connection)

    async def large(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x" * 10_000_000})

    with_connection(scenario, large)


def test_a_client_that_reads_slowly_but_steadily_is_not() -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        for _ in range(60):  # six times the limit
            await connection.reader.read(2**20)
            await connection.later(WRITE_SECONDS / 10)
        assert connection.server.server_state.connections

    with_connection(scenario, endless)


def test_a_request_that_is_not_complete_does_not_hold_up_the_end() -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(HALF_A_BODY)
        connection.server.stop()
        ending = asyncio.create_task(connection.reader.read())
        while not ending.done():
            await connection.later(LAST_READ_SECONDS / 10)
            await asyncio.sleep(0.01)
        assert ending.result().startswith(b"HTTP/1.1 408")

    with_connection(scenario)


@pytest.mark.parametrize(
    ("head", "status", "why"),
    [
        (b"GET / HTTP/2.0\r\nhost: localhost\r\n\r\n", 505, "only HTTP/1.0 and HTTP/1.1 are supported"),
        (b"GET /\r\n\r\n", 505, "only HTTP/1.0 and HTTP/1.1 are supported"),
        (b"CONNECT evil:443 HTTP/1.1\r\nhost: evil\r\n\r\n", 400, "this is not a proxy"),
    ],
)
def test_other_versions_and_proxying_are_refused_by_name(head: bytes, status: int, why: str) -> None:
    async def scenario(connection: Connected) -> None:
        await connection.say(head)
        answered, body = await connection.heard()
        assert (answered, json.loads(body)["error"]["message"]) == (status, why)

    with_connection(scenario)
