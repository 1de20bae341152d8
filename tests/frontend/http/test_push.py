"""From a source to a client on a real socket, by `nacelle.writer` and, where a server lacks it, by `send`."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from frontend.errors import ClientGone, EngineCrashed
from frontend.http.asgi import Application, Receive, Scope, Send, writer_of
from frontend.http.keep_alive import StreamKeepAlive
from frontend.http.push import body_of
from tests.frontend.http.items import Items
from tests.frontend.http.serving import Connected, with_connection, with_writer, without_writer

GET = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
COMMENT = b": waiting\n\n"

Loop = Callable[[], asyncio.AbstractEventLoop]
Way = Callable[[Application], Application]

EVERY_WAY = pytest.mark.parametrize("way", [with_writer, without_writer])
EVERY_LOOP = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])


class Streaming:
    """An application that streams `items`, as an API framework does: it iterates and sends."""

    def __init__(self, encode: Callable[[list[bytes]], bytes] = b"".join) -> None:
        self.items = Items()
        self.begun = asyncio.Event()
        self.raised: Exception | None = None
        self.ended = asyncio.Event()
        self._encode = encode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self.begun.set()
        try:
            async for data in body_of(self.items, self._encode, writer_of(scope)):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except Exception as error:
            self.raised = error
        await send({"type": "http.response.body", "body": b""})
        self.ended.set()


def body(heard: bytes) -> bytes:
    """Without the head and the chunks' framing."""
    at = heard.index(b"\r\n\r\n") + 4
    parts = []
    while at < len(heard):
        begin = heard.index(b"\r\n", at) + 2
        end = begin + int(heard[at : begin - 2], 16)
        parts.append(heard[begin:end])
        assert heard[end : end + 2] == b"\r\n"
        at = end + 2
    assert parts.pop() == b""
    return b"".join(parts)


@EVERY_LOOP
@EVERY_WAY
def test_items_arrive_as_soon_as_they_are_put_in_and_in_order(way: Way, loop: Loop) -> None:
    streaming = Streaming()
    streaming.items.put(b"before;")

    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        await connection.reader.readuntil(b"before;")
        for number in range(3):
            streaming.items.put(b"a%d;" % number, b"b%d;" % number)
            await connection.reader.readuntil(b"a%d;b%d;" % (number, number))
        streaming.items.put(b"last;")
        streaming.items.end()
        assert (await connection.reader.read()).endswith(b"\r\n5\r\nlast;\r\n0\r\n\r\n")

    with_connection(scenario, way(streaming), loop)
    assert streaming.raised is None
    assert not streaming.items.listened_to


@EVERY_WAY
@pytest.mark.parametrize("when", ["at once", "later"])
def test_an_empty_source_ends_the_body(way: Way, when: str) -> None:
    streaming = Streaming()
    if when == "at once":
        streaming.items.end()

    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        await streaming.begun.wait()
        streaming.items.end()
        assert body(await connection.heard_all()) == b""

    with_connection(scenario, way(streaming))


@EVERY_WAY
def test_items_that_encode_to_nothing_are_left_out(way: Way) -> None:
    streaming = Streaming(lambda items: b"".join(items).upper().replace(b"SILENT;", b""))

    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        await streaming.begun.wait()
        streaming.items.put(b"silent;")
        await connection.say(b"")
        streaming.items.put(b"loud;")
        await connection.reader.readuntil(b"LOUD;")
        streaming.items.end()
        assert await connection.heard_all() == b"\r\n0\r\n\r\n"

    with_connection(scenario, way(streaming))


@EVERY_WAY
def test_an_error_of_the_source_comes_after_its_items(way: Way) -> None:
    streaming = Streaming()

    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        await streaming.begun.wait()
        streaming.items.put(b"one;")
        streaming.items.fail(EngineCrashed("it died"))
        assert body(await connection.heard_all()) == b"one;"

    with_connection(scenario, way(streaming))
    assert isinstance(streaming.raised, EngineCrashed)
    assert not streaming.items.listened_to


@EVERY_WAY
def test_a_defect_of_the_encoder_is_raised_where_the_stream_is_read_and_not_in_the_source(way: Way) -> None:
    def encode(items: list[bytes]) -> bytes:
        raise ValueError(items)

    streaming = Streaming(encode)

    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        await streaming.begun.wait()
        streaming.items.put(b"one;")
        assert body(await connection.heard_all()) == b""

    with_connection(scenario, way(streaming))
    assert isinstance(streaming.raised, ValueError)


@EVERY_LOOP
@EVERY_WAY
def test_what_a_slow_client_does_not_read_stays_in_the_source(way: Way, loop: Loop) -> None:
    streaming = Streaming()
    sent = [b"%06d;" % number * 1000 for number in range(1500)]  # 10 MB: more than sockets hold

    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        await streaming.begun.wait()
        (protocol,) = connection.server.server_state.connections
        transport: Any = protocol.transport
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for item in sent:
            streaming.items.put(item)
            await asyncio.sleep(0)
            assert transport.get_write_buffer_size() < 200_000
        assert len(streaming.items.buffered) > len(sent) / 3
        streaming.items.end()
        connection.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert body(await connection.heard_all()) == b"".join(sent)

    with_connection(scenario, way(streaming), loop)
    assert streaming.raised is None


@EVERY_LOOP
@EVERY_WAY
@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_leaves_ends_the_stream(way: Way, reads: bool, loop: Loop) -> None:
    streaming = Streaming()

    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        await streaming.begun.wait()
        if not reads:
            connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
            streaming.items.put(b"x" * 10_000_000)
            await connection.say(b"")
        connection.writer.transport.abort()
        while way is without_writer and connection.server.server_state.connections:
            await asyncio.sleep(0)
        if way is without_writer:  # the generation is what ends it
            streaming.items.fail(ClientGone())
        await streaming.ended.wait()

    with_connection(scenario, way(streaming), loop)
    assert isinstance(streaming.raised, ClientGone)
    assert not streaming.items.listened_to


@EVERY_LOOP
@EVERY_WAY
@pytest.mark.parametrize("seed", range(3))
def test_comments_never_fall_inside_an_event_however_the_client_reads(
    way: Way, seed: int, loop: Loop
) -> None:
    streaming = Streaming()
    chance = random.Random(seed)
    sent = [b"data: %d %b\n\n" % (number, b"x" * chance.randrange(5000)) for number in range(2000)]

    async def produce() -> None:
        for item in sent:
            streaming.items.put(item)
            for _ in range(chance.choice((0, 0, 1, 3))):
                await asyncio.sleep(0)
        streaming.items.end()

    async def scenario(connection: Connected) -> None:
        await connection.say(GET)
        await streaming.begun.wait()
        producing = asyncio.create_task(produce())
        heard = b""
        while data := await connection.reader.read(chance.randrange(1, 200_000)):
            heard += data
            for _ in range(chance.choice((0, 0, 30))):
                await asyncio.sleep(0)
        await producing
        events = body(heard).split(b"\n\n")
        said = [event + b"\n\n" for event in events[:-1] if event + b"\n\n" != COMMENT]
        assert (said, events[-1]) == (sent, b"")
        assert COMMENT.strip() in events

    with_connection(scenario, way(StreamKeepAlive(streaming, silent_seconds=0.0)), loop)


class CountingWriter:
    def __init__(self) -> None:
        self.paused = self.gone = False
        self.written = 0
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def cut_off(self) -> None:
        self.gone = True

    def notify(self, callback: Callable[[], None] | None) -> None:
        pass


def test_what_arrives_in_one_turn_is_written_at_once_and_no_task_wakes_up_for_it() -> None:
    async def story() -> None:
        items, writer = Items(), CountingWriter()

        async def reading() -> None:
            async for _ in body_of(items, b"".join, writer):
                raise AssertionError

        task = asyncio.create_task(reading())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for text in (b"one;", b"two;", b"three;"):  # messages that are read together
            items.put(text)
        assert writer.writes == []
        await asyncio.sleep(0)
        assert (writer.writes, items.takes) == ([b"one;two;three;"], 1)
        items.end()
        await task

    asyncio.run(story())


def test_a_client_that_left_before_the_body_began_ends_it_too() -> None:
    async def story() -> None:
        writer = CountingWriter()
        writer.gone = True
        items = Items()
        items.put(b"one;")
        with pytest.raises(ClientGone):
            async for _ in body_of(items, b"".join, writer):
                raise AssertionError
        assert items.buffered == [b"one;"]

    asyncio.run(story())
