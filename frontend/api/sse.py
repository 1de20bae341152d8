"""Streaming a generation as server-sent events.

All of a chunk but the token's text is the same over a request, so it is encoded once; what has come since
the last write goes out in one write, one event each.
"""

from collections.abc import AsyncIterator, Callable

import msgspec

from frontend.api.errors import error_body
from frontend.errors import ClientGone, ServerError
from frontend.routing.generation import Generation, Output, Usage

CONTENT_TYPE = "text/event-stream"
DONE = b"data: [DONE]\n\n"
_MARK = "\0text\0"

_encode = msgspec.json.encode


def event(body: msgspec.Struct) -> bytes:
    return b"data: " + _encode(body) + b"\n\n"


class ChunkFormat(msgspec.Struct):
    """How one request's chunks look, on the wire."""

    opening: bytes  # sent before any text; may be empty
    text: list[tuple[bytes, bytes]]  # by choice: what stands before and after the JSON string of the text
    finish: Callable[[int, str], bytes]  # (choice, finish reason) → the choice's last chunk
    usage: Callable[[Usage], bytes]  # the chunk before the end, where `include_usage`
    include_usage: bool


def around_text(chunk: Callable[[str], msgspec.Struct]) -> tuple[bytes, bytes]:
    """Split the event of `chunk(text)` at its text."""
    before, after = event(chunk(_MARK)).split(_encode(_MARK))
    return before, after


def _events(outputs: list[Output], form: ChunkFormat) -> bytes:
    parts: list[bytes] = []
    for output in outputs:
        if output.text:
            before, after = form.text[output.choice]
            parts += (before, _encode(output.text), after)
        if output.finish_reason is not None:
            parts.append(form.finish(output.choice, output.finish_reason))
    return b"".join(parts)


async def stream(generation: Generation, form: ChunkFormat) -> AsyncIterator[bytes]:
    """The response body, up to `[DONE]`; an error ends it with an error event and no `[DONE]`."""
    try:
        if form.opening:
            yield form.opening
        while outputs := await generation.outputs():
            yield _events(outputs, form)
        if form.include_usage:
            yield form.usage(generation.usage)
        yield DONE
    except ServerError as error:
        yield event(error_body(error))
    except ClientGone:
        pass
    finally:
        generation.close()
