"""Streams that have nothing to say for a while: before they begin, and in between."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import falcon.asgi
import falcon.testing
import pytest

from frontend.api import sse
from frontend.errors import ClientGone, EngineCrashed, QueueFull, ServerError
from frontend.http.error_body import error_body


def told(error: ServerError) -> bytes:
    return sse.event(error_body(error))


def a_request() -> falcon.asgi.Request:
    request: falcon.asgi.Request = falcon.testing.create_asgi_req()
    return request


async def one_event() -> AsyncIterator[bytes]:
    yield b"data: 1\n\n"


async def respond(
    outcome: Exception | None, patience: float, heartbeat: Callable[[], bytes] | None = None
) -> list[bytes]:
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
        await sse.respond_events(a_request(), response, begin(), told, heartbeat=heartbeat)
    assert response.content_type == "text/event-stream"
    stream: Any = response.stream
    return [data async for data in stream]


@pytest.mark.parametrize("patience", [60.0, 0.0], ids=["soon", "late"])
def test_a_stream_says_the_same_whenever_it_begins(patience: float) -> None:
    assert asyncio.run(respond(None, patience)) == [b"data: 1\n\n"]


def test_a_stream_that_begins_late_shows_at_once_that_it_is_alive() -> None:
    assert asyncio.run(respond(None, 0.0, lambda: b"beat")) == [b"beat", b"data: 1\n\n"]
    assert asyncio.run(respond(None, 60.0, lambda: b"beat")) == [b"data: 1\n\n"]
    beat, refusal = asyncio.run(respond(EngineCrashed("it died"), 0.0, lambda: b"beat"))
    assert (beat, json.loads(refusal.removeprefix(b"data: "))["error"]["code"]) == (b"beat", "engine_crashed")


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

        answering = sse.respond_events(a_request(), falcon.asgi.Response(), begin(), told)
        responding = asyncio.create_task(answering)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        responding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await responding
        await asyncio.wait_for(cancelled.wait(), 10)

    asyncio.run(story())
