"""/v1/responses: creating responses, and asking about stored ones."""

import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Literal

import falcon
import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.generating import off_loop, respond_json
from frontend.api.images import Images
from frontend.api.openapi.operation import OF_ENGINES, describes
from frontend.api.prompting import TurnSpec
from frontend.api.responses.background import Background
from frontend.api.responses.builder import ResponseBuilder
from frontend.api.responses.event_log import LogReader
from frontend.api.responses.reading import Conversation, RequestReader
from frontend.api.responses.records import Record, Records, is_live, item_ids
from frontend.api.responses.request import response_of, turn_of
from frontend.api.responses.stream import (
    BeginTurn,
    Keep,
    broken,
    collect,
    followed,
    frames,
    naming_params,
    refused,
    stream,
)
from frontend.api.responses.tools import LeftOut
from frontend.api.schema.common import MANY_MESSAGES
from frontend.api.schema.response_events import ResponseEvent
from frontend.api.schema.response_items import ForeignItem, Item, ItemList
from frontend.api.schema.responses import Deleted, ResponseBody, ResponsesRequest
from frontend.api.sse import respond_events
from frontend.errors import BadRequest
from frontend.http.asgi import writer_of
from frontend.http.exchange import exchange_of
from frontend.shortened import quoted

_MOST_LISTED = 100
_LISTED = 20

log = logging.getLogger("nacelle.api")

_decoder = msgspec.json.Decoder(ResponsesRequest)


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


def warn_of_tools(kind: str) -> None:
    log.warning("tools of the type %r are left out: only OpenAI's servers can run them", kind)


class Responses:
    """/v1/responses, /v1/responses/{response_id} (suffix `one`), …/cancel (suffix `cancel`) and …/input_items
    (suffix `items`)."""

    def __init__(
        self,
        begin: BeginTurn,
        images: Images,
        records: Records,
        background: Background,
        max_body_bytes: int,
        warn: Callable[[str], None] = warn_of_tools,
    ) -> None:
        """`warn` gets each type of tools that are left out."""
        self._begin = naming_params(begin)
        self._images = images
        self._records = records
        self._background = background
        self._left_out = LeftOut(warn)
        self._reader = RequestReader(images, records, background, new_id, max_body_bytes)

    @describes(
        "A response",
        body=ResponsesRequest,
        answer=ResponseBody,
        events=ResponseEvent,
        errors=OF_ENGINES,
        example={"model": "smollm2", "input": "Say hello.", "max_output_tokens": 4},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, conversation = await self._reader.read(request, _decoder)
        items = conversation.items
        may_take_long = body.is_constrained or len(items) > MANY_MESSAGES
        spec, offered = await off_loop(may_take_long, turn_of, body, items)
        begun = response_of(body, new_id, time.time())
        self._left_out.add(body.tools or [])
        builder = ResponseBuilder(begun, item_ids(begun.id), time.time, offered)
        record = partial(self._record, begun, conversation, spec, request)
        if body.background:
            await self._background.start(spec, builder, await record())
            if body.stream:
                await self._follow(begun.id, 0, request, response)
            else:
                respond_json(response, builder.response)
            return
        if body.stream:
            await respond_events(
                request,
                response,
                self._stream(spec, request, builder, record),
                partial(refused, builder),
                heartbeat=lambda: frames(builder.heartbeat()),
            )
            return
        keep = await self._keeper(await record())
        turn = await self._begin(spec, request)
        try:
            await collect(turn, builder)
        finally:
            turn.close()
        await keep(builder.response)
        respond_json(response, builder.response)

    async def _record(
        self,
        begun: ResponseBody,
        conversation: Conversation,
        spec: TurnSpec,
        request: falcon.asgi.Request,
    ) -> Record:
        """Of a response before its output, whose images have been fetched. Raises ServerError."""
        fetched = await self._images.fill(spec, request, conversation.known)
        record = Record(response=begun, input=conversation.items, fetched=fetched)
        if begun.store:
            self._records.check_images(record)
        return record

    async def _stream(
        self,
        spec: TurnSpec,
        request: falcon.asgi.Request,
        builder: ResponseBuilder,
        record: Callable[[], Awaitable[Record]],
    ) -> AsyncIterator[bytes]:
        keep = await self._keeper(await record())
        turn = await self._begin(spec, request)
        return stream(turn, builder, keep, writer_of(request.scope), exchange_of(request.scope))

    @describes(
        "A stored response, or its events",
        answer=ResponseBody,
        events=ResponseEvent,
        query={"stream": bool, "starting_after": int},
        errors=(404,),
    )
    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, response_id: str
    ) -> None:
        record = await self._records.find(response_id)
        if request.get_param_as_bool("stream"):
            after = request.get_param_as_int("starting_after", default=-1)
            await self._follow(response_id, after + 1, request, response)
            return
        respond_json(response, self._background.current(record))

    async def _follow(
        self, response_id: str, number: int, request: falcon.asgi.Request, response: falcon.asgi.Response
    ) -> None:
        """Stream the kept events from `number` on, and those that follow."""
        log = self._background.logs.find(response_id)
        if log is None:
            raise BadRequest(
                "stream: only a response that was created with background and stream can be streamed, by the "
                "server that makes it and until a few minutes after its end; retrieve it without stream",
                "stream",
            )
        if not 0 <= number <= log.next_number:
            last = log.next_number - 1
            raise BadRequest(f"starting_after: must be from 0 to {last}, the last event", "starting_after")
        log.check(number)  # or it is an HTTP error
        reader = LogReader(log, number)

        async def begin() -> AsyncIterator[bytes]:
            return followed(reader, writer_of(request.scope), exchange_of(request.scope))

        await respond_events(request, response, begin(), partial(broken, reader), heartbeat=log.beat)

    @describes("Delete a stored response", answer=Deleted, errors=(404,))
    async def on_delete_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, response_id: str
    ) -> None:
        await self._records.delete(response_id)  # first: another caller's response is not there
        await self._background.cancel(response_id)
        self._background.logs.remove(response_id)
        respond_json(response, Deleted(response_id))

    @describes("Cancel a background response", answer=ResponseBody, errors=(404,))
    async def on_post_cancel(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, response_id: str
    ) -> None:
        record = await self._records.find(response_id)
        if not record.response.background:
            raise BadRequest("only a background response can be cancelled", "response_id")
        await self._background.cancel(response_id)
        record = await self._records.update(response_id, _cancelled) or record
        respond_json(response, self._background.current(record))

    @describes(
        "The conversation before a stored response",
        answer=ItemList,
        query={
            "limit": Annotated[int, msgspec.Meta(ge=1, le=_MOST_LISTED)],
            "order": Literal["asc", "desc"],
            "after": str,
        },
        errors=(404,),
    )
    async def on_get_items(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, response_id: str
    ) -> None:
        order = request.get_param("order", default="desc")
        if order not in ("asc", "desc"):
            raise BadRequest(f"order: must be asc or desc, not {quoted(order)}", "order")
        limit = request.get_param_as_int("limit", default=_LISTED)
        if not 1 <= limit <= _MOST_LISTED:
            raise BadRequest(f"limit: must be from 1 to {_MOST_LISTED}", "limit")
        record = await self._records.find(response_id)
        items = record.input if order == "asc" else record.input[::-1]
        respond_json(response, page(items, request.get_param("after"), limit))

    async def _keeper(self, record: Record) -> Keep:
        """What stores the response when it is done. Raises StoreUnavailable at once, not after the work."""
        if not record.response.store:
            return _forget
        await self._records.load(record.response.id)
        return lambda done: self._records.save(msgspec.structs.replace(record, response=done))


async def _forget(response: ResponseBody) -> None:
    pass


def _cancelled(record: Record) -> Record | None:
    """For `Records.update`: a response that some other server may be working on."""
    if not is_live(record.response):
        return None
    return msgspec.structs.replace(
        record, response=msgspec.structs.replace(record.response, status="cancelled")
    )


def page(items: Sequence[Item], after: str | None, limit: int) -> ItemList:
    """At most `limit` items after the one with the id `after`. Raises BadRequest."""
    begin = 0
    if after is not None:
        begin = next((index + 1 for index, item in enumerate(items) if item.id == after), 0)
        if not begin:
            raise BadRequest(f"after: there is no item {quoted(after)}", "after")
    shown = list(items[begin : begin + limit])
    return ItemList(
        data=[item.body if isinstance(item, ForeignItem) else item for item in shown],
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
        has_more=begin + limit < len(items),
    )


def install(app: App, server: Server) -> None:
    memory = server.memory
    responses = Responses(
        memory.begin, server.images, memory.records, memory.background, server.max_body_bytes
    )
    app.add_route("/v1/responses", responses)
    app.add_route("/v1/responses/{response_id}", responses, suffix="one")
    app.add_route("/v1/responses/{response_id}/cancel", responses, suffix="cancel")
    app.add_route("/v1/responses/{response_id}/input_items", responses, suffix="items")
