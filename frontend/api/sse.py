"""Streaming an answer as server-sent events: what has come since the last write goes out in one write."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

import falcon.asgi
import msgspec

from frontend.api.errors import error_body, presentable
from frontend.errors import ClientGone, ServerError

T = TypeVar("T")

PATIENCE_SECONDS = 15.0  # until a stream begins that waits in the queue
DONE = b"data: [DONE]\n\n"
_CONTENT_TYPE = "text/event-stream"
_MARK = "\0text\0"

_encode = msgspec.json.encode


def event(body: msgspec.Struct) -> bytes:
    return b"data: " + _encode(body) + b"\n\n"


def around_text(chunk: Callable[[str], msgspec.Struct]) -> tuple[bytes, bytes]:
    """Split the event of `chunk(text)` at its text: all else is the same over a request and encoded once."""
    before, after = event(chunk(_MARK)).split(_encode(_MARK))
    return before, after


class Stream(msgspec.Struct, Generic[T]):
    """Where a streamed answer comes from, and how it looks on the wire."""

    read: Callable[[], Awaitable[list[T]]]  # all that came since the last call; empty at the end
    encode: Callable[[list[T]], bytes]
    ending: Callable[[], bytes]  # before `[DONE]`
    close: Callable[[], None]
    opening: bytes = b""


async def respond_streaming(response: falcon.asgi.Response, begin: Coroutine[Any, Any, Stream[T]]) -> None:
    """As `respond_events`."""

    async def begun() -> AsyncIterator[bytes]:
        return _stream(await begin)

    await respond_events(response, begun(), lambda error: event(error_body(error)))


async def respond_events(
    response: falcon.asgi.Response,
    begin: Coroutine[Any, Any, AsyncIterator[bytes]],
    told: Callable[[ServerError], bytes],
) -> None:
    """Answer with events that are already as they go over the wire.

    What `begin` refuses is an HTTP error; after a while the answer begins without it, so that whoever is
    between us and the client sees something, and an error can only be an event, as `told`.
    """
    begun = asyncio.create_task(begin)
    try:
        await asyncio.wait([begun], timeout=PATIENCE_SECONDS)
    except asyncio.CancelledError:
        begun.cancel()
        raise
    response.stream = begun.result() if begun.done() else _late(begun, told)
    response.content_type = _CONTENT_TYPE
    response.set_header("Cache-Control", "no-cache")
    response.set_header("X-Accel-Buffering", "no")  # tells nginx not to hold events back


async def _late(
    begun: "asyncio.Task[AsyncIterator[bytes]]", told: Callable[[ServerError], bytes]
) -> AsyncIterator[bytes]:
    try:
        events = await begun
    except ClientGone:
        return
    except Exception as error:
        yield told(presentable(error, "a stream that waited"))
        return
    async for data in events:
        yield data


async def _stream(source: Stream[T]) -> AsyncIterator[bytes]:
    """The response body, up to `[DONE]`; an error ends it with an error event and no `[DONE]`."""
    try:
        if source.opening:
            yield source.opening
        while items := await source.read():
            if data := source.encode(items):
                yield data
        yield source.ending() + DONE
    except ClientGone:
        pass
    except Exception as error:
        yield event(error_body(presentable(error, "a stream")))
    finally:
        source.close()
