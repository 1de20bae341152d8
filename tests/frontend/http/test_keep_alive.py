"""Event streams that are silent for a while, by `send` and by `nacelle.writer`."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from frontend.api.sse import PATIENCE_SECONDS
from frontend.http.asgi import WRITER, Message, Receive, Send, writer_of
from frontend.http.exchange import Exchange, attach, exchange_of
from frontend.http.keep_alive import SILENT_SECONDS, TICKS, StreamKeepAlive

ONE, TWO = b"data: 1\n\n", b"data: 2\n\n"


class RecordingWriter:
    """Stands in for a server's."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.paused = False
        self.gone = False
        self._bodies = bodies

    @property
    def written(self) -> int:
        return sum(map(len, self._bodies))

    def write(self, data: bytes) -> None:
        self._bodies.append(data)

    def notify(self, callback: Callable[[], None] | None) -> None:
        raise AssertionError


async def answered(
    content_type: bytes,
    silent_turns: int,
    synchronously: bool,
    paused: bool = False,
    heartbeat: Callable[[], bytes] | None = None,
) -> list[bytes]:
    """The bodies of an answer of two parts with a silence between."""
    bodies: list[bytes] = []
    server_writer = RecordingWriter(bodies)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            bodies.append(message["body"])

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        writer = writer_of(scope)
        exchange_of(scope).heartbeat = heartbeat
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]}
        )
        if writer is not None:
            writer.write(ONE)
        else:
            await send({"type": "http.response.body", "body": ONE, "more_body": True})
        server_writer.paused = paused
        for _ in range(silent_turns):
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": TWO, "more_body": False})
        for _ in range(silent_turns):
            await asyncio.sleep(0)

    async def receive() -> Message:
        raise AssertionError

    scope = attach(
        {"type": "http", "extensions": {WRITER: server_writer} if synchronously else {}}, Exchange("", 0.0)
    )
    await StreamKeepAlive(app, silent_seconds=0.0)(scope, receive, send)
    return bodies


@pytest.mark.parametrize("synchronously", [False, True])
def test_a_silent_stream_is_filled_with_comments_until_it_ends(synchronously: bool) -> None:
    first, *between, last = asyncio.run(answered(b"text/event-stream", 50, synchronously))
    assert (first, last) == (ONE, TWO)
    assert between and set(between) == {b": waiting\n\n"}


@pytest.mark.parametrize("synchronously", [False, True])
def test_a_stream_that_speaks_and_an_answer_of_another_kind_are_left_alone(synchronously: bool) -> None:
    assert asyncio.run(answered(b"text/event-stream", 0, synchronously)) == [ONE, TWO]
    assert asyncio.run(answered(b"application/json", 50, synchronously)) == [ONE, TWO]


def test_a_client_that_reads_slowly_gets_no_comments() -> None:
    assert asyncio.run(answered(b"text/event-stream", 50, synchronously=True, paused=True)) == [ONE, TWO]


@pytest.mark.parametrize("synchronously", [False, True])
def test_an_endpoint_names_its_own_sign_of_life_which_is_made_when_it_is_written(synchronously: bool) -> None:
    numbers = itertools.count()
    bodies = asyncio.run(
        answered(
            b"text/event-stream", 50, synchronously, heartbeat=lambda: b"data: beat %d\n\n" % next(numbers)
        )
    )
    first, *between, last = bodies
    assert (first, last) == (ONE, TWO)
    assert between == [b"data: beat %d\n\n" % number for number in range(len(between))]
    assert between


def test_a_sign_of_life_comes_within_ten_seconds_whenever_the_silence_begins() -> None:
    assert PATIENCE_SECONDS < 10
    assert SILENT_SECONDS * (1 + 1 / TICKS) < 10
