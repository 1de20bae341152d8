"""`nacelle.writer` on a real socket, with the event loops of asyncio and uvloop: what is written equals what
`send` sends, a slow client pauses it, and a client that leaves is noticed."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from frontend.http.asgi import Application, Headers, Receive, Scope, Send, Writer, writer_of
from tests.frontend.http.serving import Connected, with_connection

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
HIGH_WATER = 64 * 1024
CHUNK = b"x" * 50_000
EVERY_LOOP = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])

Loop = Callable[[], asyncio.AbstractEventLoop]


def writer_in(scope: Scope) -> Writer:
    writer = writer_of(scope)
    assert writer is not None
    return writer


async def start(send: Send, headers: Headers | None = None) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": headers or []})


async def end(send: Send, body: bytes = b"") -> None:
    await send({"type": "http.response.body", "body": body})


def answering(headers: Headers, synchronously: bool) -> Application:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, headers)
        for part in (b"one, ", b"", b"two, "):
            if synchronously:
                writer_in(scope).write(part)
            else:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await end(send, b"three")

    return app


@EVERY_LOOP
@pytest.mark.parametrize(
    "request_",
    [
        LAST_GET,
        b"GET / HTTP/1.0\r\n\r\n",
        LAST_GET.replace(b"GET", b"HEAD"),
    ],
)
@pytest.mark.parametrize(
    "headers", [[], [(b"content-length", b"15")], [(b"transfer-encoding", b"chunked")]], ids=str
)
def test_what_is_written_looks_like_what_is_sent(request_: bytes, headers: Headers, loop: Loop) -> None:
    heard: list[bytes] = []

    async def scenario(connection: Connected) -> None:
        await connection.say(request_)
        heard.append(await connection.heard_all())

    for synchronously in (False, True):
        with_connection(scenario, answering(headers, synchronously), loop)
    assert heard[0] == heard[1]
    assert (b"two, " in heard[0]) == (not request_.startswith(b"HEAD"))


@EVERY_LOOP
def test_a_body_that_grows_beyond_its_length_is_a_defect(loop: Loop) -> None:
    raised: list[type[Exception]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await start(send, [(b"content-length", b"3")])
        try:
            writer_in(scope).write(b"four")
        except RuntimeError as error:
            raised.append(type(error))
        await end(send, b"six")

    async def scenario(connection: Connected) -> None:
        await connection.say(LAST_GET)
        assert (await connection.heard_all()).endswith(b"\r\n\r\nsix")

    with_connection(scenario, app, loop)
    assert raised == [RuntimeError]


@EVERY_LOOP
def test_nothing_can_be_written_outside_a_body(loop: Loop) -> None:
    refused: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        def write(when: str) -> None:
            try:
                writer_in(scope).write(b"x")
            except RuntimeError:
                refused.append(when)

        write("before")
        await start(send)
        write("within")
        await end(send)
        write("after")

    async def scenario(connection: Connected) -> None:
        await connection.say(LAST_GET)
        assert (await connection.heard_all()).endswith(b"\r\n\r\n1\r\nx\r\n0\r\n\r\n")

    with_connection(scenario, app, loop)
    assert refused == ["before", "after"]


@EVERY_LOOP
def test_a_client_that_reads_slowly_pauses_the_writer_until_it_has_read(loop: Loop) -> None:
    rounds = 3
    paused = asyncio.Queue[int]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        writer = writer_in(scope)
        resumed = asyncio.Event()
        writer.notify(resumed.set)
        await start(send)
        for _ in range(rounds):
            while not writer.paused:
                writer.write(CHUNK)
            with pytest.raises(RuntimeError):
                writer.write(CHUNK)
            assert not resumed.is_set()
            paused.put_nowait(writer.written)
            await resumed.wait()
            resumed.clear()
        await end(send)

    async def scenario(connection: Connected) -> None:
        await connection.say(LAST_GET)
        (protocol,) = connection.server.server_state.connections
        transport: Any = protocol.transport
        heard, limit = b"", 2 * HIGH_WATER + len(CHUNK)
        for _ in range(rounds):
            written = await paused.get()
            assert transport.get_write_buffer_size() < limit
            while heard.count(b"x") < written:
                heard += await connection.reader.read(2**20)
        heard += await connection.reader.read()
        assert heard.endswith(b"\r\n0\r\n\r\n")
        assert heard.count(b"x") == written

    with_connection(scenario, app, loop)


@EVERY_LOOP
@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_leaves_is_noticed_and_writing_goes_nowhere(loop: Loop, reads: bool) -> None:
    story: list[str] = []
    ready = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        writer = writer_in(scope)
        noticed = asyncio.Event()
        await start(send)
        while not reads and not writer.paused:
            writer.write(CHUNK)
        writer.notify(noticed.set)
        ready.set()
        await noticed.wait()
        assert writer.gone
        before = writer.written
        writer.write(CHUNK)
        assert writer.written == before
        story.append("noticed")

    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        await ready.wait()
        connection.writer.transport.abort()
        while not story:
            await asyncio.sleep(0.001)

    with_connection(scenario, app, loop)


@EVERY_LOOP
def test_each_of_several_pipelined_requests_has_its_own_writer(loop: Loop) -> None:
    writers: list[Writer] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        writers.append(writer_in(scope))
        await start(send)
        for number in range(3):
            writers[-1].write(b"%d.%d " % (len(writers), number))
            await asyncio.sleep(0)
        await end(send)

    async def scenario(connection: Connected) -> None:
        await connection.say(GET + GET + LAST_GET)
        heard = await connection.heard_all()
        said = [line.strip() for line in heard.split(b"\r\n") if line.endswith(b" ")]
        assert said == [b"%d.%d" % (writer, number) for writer in (1, 2, 3) for number in range(3)]

    with_connection(scenario, app, loop)
    assert len(set(writers)) == 3
    assert [writer.written for writer in writers] == [12, 12, 12]
