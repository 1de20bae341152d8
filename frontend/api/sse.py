"""Streaming an answer as server-sent events: what has come since the last write goes out in one write."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

import falcon.asgi
import msgspec

from frontend.api.errors import error_body, presentable
from frontend.errors import ClientGone

T = TypeVar("T")

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


def respond_streaming(response: falcon.asgi.Response, source: Stream[T]) -> None:
    respond_events(response, _stream(source))


def respond_events(response: falcon.asgi.Response, events: AsyncIterator[bytes]) -> None:
    """Answer with events that are already as they go over the wire."""
    response.content_type = _CONTENT_TYPE
    response.set_header("Cache-Control", "no-cache")
    response.set_header("X-Accel-Buffering", "no")  # tells nginx not to hold events back
    response.stream = events


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
