"""Streaming an answer: what has arrived since the last write goes out in one write.

The frames are server-sent events, or those of another `Framing`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

import falcon.asgi
import msgspec

from frontend.api.errors import presentable
from frontend.errors import ClientGone, ServerError
from frontend.http.asgi import Writer, writer_of
from frontend.http.error_body import openai_error_event
from frontend.http.exchange import CLIENT_GONE, Exchange, exchange_of
from frontend.http.push import Source, body_of

T = TypeVar("T")
BodyT = TypeVar("BodyT", bound=msgspec.Struct)

PATIENCE_SECONDS = 8.0  # until a stream whose request is still queued starts its response
DONE = b"data: [DONE]\n\n"
EVENT_STREAM = "text/event-stream"
_MARK = "\0text\0"

_encode = msgspec.json.encode


def event(body: msgspec.Struct) -> bytes:
    return b"data: " + _encode(body) + b"\n\n"


def named_event(body: msgspec.Struct) -> bytes:
    """An event whose name is the tag of its body."""
    return event_named(str(body.__struct_config__.tag), body)


def event_named(name: str, body: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(body))


def around_text(
    chunk: Callable[[str], BodyT], event_of: Callable[[BodyT], bytes] = event
) -> tuple[bytes, bytes]:
    """Split the event of `chunk(text)` at its text: the rest is the same over a request and encoded once."""
    before, after = event_of(chunk(_MARK)).split(_encode(_MARK))
    return before, after


class Framing(msgspec.Struct, frozen=True):
    """How a stream is cut into frames. Its items are encoded in whole frames."""

    content_type: str
    error: Callable[[ServerError], bytes]  # the frame that ends a stream which failed
    end: bytes = b""  # of a stream that did not fail


SSE = Framing(EVENT_STREAM, openai_error_event, DONE)


class Stream(msgspec.Struct, Generic[T]):
    """Where a streamed answer comes from, and how it looks on the wire."""

    source: Source[T]
    encode: Callable[[list[T]], bytes]
    ending: Callable[[], bytes]  # before the framing's end
    close: Callable[[], None]
    opening: bytes = b""
    finish: Callable[[], Awaitable[None]] | None = None  # what must happen before the end is announced


async def respond_streaming(
    request: falcon.asgi.Request,
    response: falcon.asgi.Response,
    begin: Coroutine[Any, Any, Stream[T]],
    framing: Framing = SSE,
    heartbeat: Callable[[], bytes] | None = None,
) -> None:
    """As `respond_events`."""
    scope = request.scope

    async def begun() -> AsyncIterator[bytes]:
        return _stream(await begin, writer_of(scope), exchange_of(scope), framing)

    await respond_events(request, response, begun(), framing.error, framing.content_type, heartbeat)


async def respond_events(
    request: falcon.asgi.Request,
    response: falcon.asgi.Response,
    begin: Coroutine[Any, Any, AsyncIterator[bytes]],
    error_event: Callable[[ServerError], bytes],
    content_type: str = EVENT_STREAM,
    heartbeat: Callable[[], bytes] | None = None,
) -> None:
    """Answer with events that are already encoded.

    An error of `begin` is an HTTP error. After PATIENCE_SECONDS the response starts without waiting for
    `begin` any longer, so that proxies and clients see a sign of life; from then on an error can only be
    an event, as `error_event` encodes it.

    `heartbeat` makes the event that shows clients that a silent stream is alive, also before `begin` has
    returned. It is called just before its event is written, so it may number it. None: comments.
    """
    exchange = exchange_of(request.scope)
    exchange.stream = True
    exchange.heartbeat = heartbeat
    begun = asyncio.create_task(begin)
    try:
        await asyncio.wait([begun], timeout=PATIENCE_SECONDS)
    except asyncio.CancelledError:
        begun.cancel()
        raise
    if begun.done():
        response.stream = begun.result()
    else:
        response.stream = _late(begun, error_event, heartbeat, exchange)
    response.content_type = content_type
    response.set_header("Cache-Control", "no-cache")
    response.set_header("X-Accel-Buffering", "no")  # nginx must not hold events back


async def _late(
    begun: "asyncio.Task[AsyncIterator[bytes]]",
    error_event: Callable[[ServerError], bytes],
    heartbeat: Callable[[], bytes] | None,
    exchange: Exchange,
) -> AsyncIterator[bytes]:
    try:
        if heartbeat is not None:
            yield heartbeat()
        events = await begun
    except ClientGone:
        if exchange.cancelled is not None:
            yield error_event(failed(exchange, exchange.cancelled, "a stream that waited"))
        exchange.fail(CLIENT_GONE)
        return
    except Exception as error:
        yield error_event(failed(exchange, error, "a stream that waited"))
        return
    finally:
        begun.cancel()  # if the client left before its turn came
    async for data in events:
        yield data


async def _stream(
    source: Stream[T], writer: Writer | None, exchange: Exchange, framing: Framing
) -> AsyncIterator[bytes]:
    """The response body, up to the framing's end. An error ends it with an error frame instead."""
    try:
        if source.opening:
            yield source.opening
        async for data in body_of(source.source, source.encode, writer):
            yield data
        if source.finish is not None:
            await source.finish()
        yield source.ending() + framing.end
    except ClientGone:
        exchange.fail(CLIENT_GONE)
    except Exception as error:
        yield framing.error(failed(exchange, error, "a stream"))
    finally:
        source.close()


def failed(exchange: Exchange, error: Exception, where: str) -> ServerError:
    """The error as clients may see it; the exchange has failed with its code, whatever status was sent."""
    shown = presentable(error, where)
    exchange.fail(shown.code, shown.param)
    return shown
