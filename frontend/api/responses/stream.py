"""Reading a turn into a response: to its end, or as server-sent events."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial

import falcon.asgi
import msgspec

from frontend.api.prompting import TurnSpec
from frontend.api.responses.builder import ResponseBuilder
from frontend.api.schema.response_events import ResponseEvent
from frontend.api.schema.responses import ResponseBody
from frontend.api.sse import failed
from frontend.api.turns import AnyTurn, TurnEvent
from frontend.errors import ClientGone, ServerError
from frontend.http.asgi import Writer
from frontend.http.exchange import CLIENT_GONE, Exchange
from frontend.http.push import body_of

BeginTurn = Callable[[TurnSpec, falcon.asgi.Request | None], Awaitable[AnyTurn]]
Keep = Callable[[ResponseBody], Awaitable[None]]  # raises ServerError

_CHOICE = 0  # a response has one

_encode = msgspec.json.encode


def frames(events: Iterable[ResponseEvent]) -> bytes:
    """Events on the wire."""
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (str(event.__struct_config__.tag).encode(), _encode(event))
        for event in events
    )


async def collect(turn: AnyTurn, builder: ResponseBuilder) -> None:
    """Read to the end. Raises ServerError or ClientGone."""
    call_id = partial(turn.call_id, _CHOICE)
    while pairs := await turn.events():
        for _, event in pairs:
            builder.apply(event, call_id)
    builder.end(turn.usage)


def refused(builder: ResponseBuilder, error: ServerError) -> bytes:
    """The body of a streamed response that never came to a turn."""
    begun = builder.begin()
    builder.fail(error)
    return frames([*begun, *builder.announce()])


async def stream(
    turn: AnyTurn, builder: ResponseBuilder, keep: Keep, writer: Writer | None, exchange: Exchange
) -> AsyncIterator[bytes]:
    """The body of a streamed response. Kept before its end is announced; if the client leaves, never."""
    call_id = partial(turn.call_id, _CHOICE)

    def encode(pairs: list[tuple[int, TurnEvent]]) -> bytes:
        return frames(said for _, event in pairs for said in builder.apply(event, call_id))

    try:
        if begun := builder.begin():  # unless the stream began while the turn waited
            yield frames(begun)
        try:
            async for data in body_of(turn, encode, writer):
                yield data
            yield frames(builder.end(turn.usage))
            await keep(builder.response)
        except ClientGone:
            exchange.fail(CLIENT_GONE)
            return
        except Exception as error:
            builder.fail(failed(exchange, error, "a response"))
            with contextlib.suppress(ServerError):
                await keep(builder.response)
        yield frames(builder.announce())
    finally:
        turn.close()
