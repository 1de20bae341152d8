"""Streams that have nothing to say for a while: before they begin, and in between."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import falcon.asgi
import pytest
from frontend.api.keep_alive import StreamKeepAlive

from frontend.api import sse
from frontend.api.client import Message, Receive, Send
from frontend.api.errors import error_body
from frontend.errors import ClientGone, EngineCrashed, QueueFull, ServerError


async def answered(content_type: bytes, silent_turns: int) -> list[Message]:
    """What goes over the wire for an answer of two parts with a silence between."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", content_type)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        for _ in range(silent_turns):
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": False})
        for _ in range(silent_turns):
            await asyncio.sleep(0)

    async def receive() -> Message:
        raise AssertionError

    await StreamKeepAlive(app, silent_seconds=0.0)({"type": "http"}, receive, send)
    return sent


def bodies(sent: list[Message]) -> list[bytes]:
    return [message["body"] for message in sent if message["type"] == "http.response.body"]


def test_a_silent_stream_is_filled_with_comments_until_it_ends() -> None:
    first, *between, last = bodies(asyncio.run(answered(b"text/event-stream", silent_turns=50)))
    assert (first, last) == (b"data: 1\n\n", b"data: 2\n\n")
    assert between and set(between) == {b": waiting\n\n"}


def test_a_stream_that_speaks_and_an_answer_of_another_kind_are_left_alone() -> None:
    both = [b"data: 1\n\n", b"data: 2\n\n"]
    assert bodies(asyncio.run(answered(b"text/event-stream", silent_turns=0))) == both
    assert bodies(asyncio.run(answered(b"application/json", silent_turns=50))) == both


def told(error: ServerError) -> bytes:
    return sse.event(error_body(error))


async def one_event() -> AsyncIterator[bytes]:
    yield b"data: 1\n\n"


async def respond(outcome: Exception | None, patience: float) -> list[bytes]:
    """The events of an answer that begins, or fails to, after some turns of the event loop."""

    async def begin() -> AsyncIterator[bytes]:
        for _ in range(20):
            await asyncio.sleep(0)
        if outcome is not None:
            raise outcome
        return one_event()

    response = falcon.asgi.Response()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "PATIENCE_SECONDS", patience)
        await sse.respond_events(response, begin(), told)
    assert response.content_type == "text/event-stream"
    stream: Any = response.stream
    return [data async for data in stream]


@pytest.mark.parametrize("patience", [60.0, 0.0], ids=["soon", "late"])
def test_a_stream_says_the_same_whenever_it_begins(patience: float) -> None:
    assert asyncio.run(respond(None, patience)) == [b"data: 1\n\n"]


@pytest.mark.parametrize("error", [QueueFull("full"), ClientGone()])
def test_a_refusal_that_comes_soon_is_an_http_error(error: Exception) -> None:
    with pytest.raises(type(error)):
        asyncio.run(respond(error, patience=60.0))


@pytest.mark.parametrize(
    ("error", "code"),
    [(EngineCrashed("it died"), "engine_crashed"), (ValueError("a secret"), "internal_error")],
)
def test_a_refusal_that_comes_late_is_an_event(error: Exception, code: str) -> None:
    (data,) = asyncio.run(respond(error, patience=0.0))
    assert json.loads(data.removeprefix(b"data: "))["error"]["code"] == code
    assert b"secret" not in data


def test_nothing_is_said_to_a_client_that_left_while_it_waited() -> None:
    assert asyncio.run(respond(ClientGone(), patience=0.0)) == []


def test_who_is_cancelled_while_it_waits_leaves_nothing_running() -> None:
    async def story() -> None:
        cancelled = asyncio.Event()

        async def begin() -> AsyncIterator[bytes]:
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            return one_event()

        responding = asyncio.create_task(sse.respond_events(falcon.asgi.Response(), begin(), told))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        responding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await responding
        await asyncio.wait_for(cancelled.wait(), 10)

    asyncio.run(story())
