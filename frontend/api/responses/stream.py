"""Reading a turn into a response: to its end, or as server-sent events."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial

import falcon.asgi

from frontend.api.errors import renaming_params
from frontend.api.prompting import TurnSpec
from frontend.api.responses.builder import ResponseBuilder
from frontend.api.responses.event_log import LogReader
from frontend.api.responses.request import param_names
from frontend.api.schema.response_events import ResponseEvent
from frontend.api.schema.responses import ResponseBody
from frontend.api.sse import failed, named_event
from frontend.api.turns import AnyTurn, TurnEvent
from frontend.errors import ClientGone, ServerError
from frontend.http.asgi import Writer
from frontend.http.error_body import responses_error_event
from frontend.http.exchange import CLIENT_GONE, Exchange
from frontend.http.push import body_of

BeginTurn = Callable[[TurnSpec, falcon.asgi.Request | None], Awaitable[AnyTurn]]
Keep = Callable[[ResponseBody], Awaitable[None]]  # raises ServerError

_CHOICE = 0  # a response has one


def naming_params(begin: BeginTurn) -> BeginTurn:
    """What hosts refuse is named as the parameters are called here."""

    async def begun(spec: TurnSpec, request: falcon.asgi.Request | None) -> AnyTurn:
        with renaming_params(param_names(spec)):
            return await begin(spec, request)

    return begun


def frames(events: Iterable[ResponseEvent]) -> bytes:
    """Events on the wire."""
    return b"".join(map(named_event, events))


async def collect(
    turn: AnyTurn, builder: ResponseBuilder, deliver: Callable[[list[ResponseEvent]], None] | None = None
) -> None:
    """Read to the end; `deliver` gets the events. Raises ServerError or ClientGone."""
    call_id = partial(turn.call_id, _CHOICE)
    while pairs := await turn.events():
        events = [applied for _, event in pairs for applied in builder.apply(event, call_id)]
        if deliver is not None and events:
            deliver(events)
    events = builder.end(turn.usage)
    if deliver is not None:
        deliver(events)


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
        return frames(applied for _, event in pairs for applied in builder.apply(event, call_id))

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


async def followed(reader: LogReader, writer: Writer | None, exchange: Exchange) -> AsyncIterator[bytes]:
    """The body of a stream of kept events. If the client leaves, the response goes on."""
    try:
        async for data in body_of(reader, b"".join, writer):
            yield data
    except ClientGone:
        exchange.fail(CLIENT_GONE)
    except Exception as error:
        yield broken(reader, failed(exchange, error, "a stream of kept events"))


def broken(reader: LogReader, error: ServerError) -> bytes:
    """The event of a stream that cannot go on, although its response may."""
    return responses_error_event(error, reader.next_number)
