"""/v1/responses: creating responses, and asking about stored ones."""

import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Sequence
from functools import partial

import falcon
import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.errors import renaming_params
from frontend.api.generating import off_loop, respond_json
from frontend.api.images import Images
from frontend.api.prompting import TurnSpec
from frontend.api.responses.background import Background
from frontend.api.responses.builder import ResponseBuilder
from frontend.api.responses.items import image_characters, references_of, whole_input
from frontend.api.responses.records import Record, Records, as_of, is_live, item_ids, response_id_of
from frontend.api.responses.request import FITS_THE_CONTEXT, check, response_of, turn_of
from frontend.api.responses.stream import BeginTurn, Keep, collect, frames, refused, stream
from frontend.api.schema.response_items import Item, ItemList
from frontend.api.schema.responses import Deleted, ResponseBody, ResponsesRequest
from frontend.api.sse import respond_events
from frontend.api.turns import AnyTurn
from frontend.errors import BadRequest
from frontend.http.asgi import writer_of
from frontend.http.exchange import exchange_of
from frontend.media.given import Media

_MOST_LISTED = 100
_LISTED = 20
_MANY_ITEMS = 500  # take milliseconds
_MOST_LOOKUPS = 50  # of stored responses for one request; one is usual

# What hosts call the parameters → what they are called here.
_PARAMS = {"messages": "input", "max_tokens": "max_output_tokens"}

_decoder = msgspec.json.Decoder(ResponsesRequest)


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


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
    ) -> None:
        self._begin = begin
        self._images = images
        self._records = records
        self._background = background
        self._max_body_bytes = max_body_bytes

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        limit, extra = self._max_body_bytes, self._images.body_bytes()
        body, is_large = await read_json(request, limit, _decoder, extra, lambda b: image_characters(b.input))
        check(body)
        known: dict[str, Media] = {}
        history = await self._history(body.previous_response_id, known)
        stored = await self._referred(references_of(body.input), history, known)
        items = await off_loop(is_large, whole_input, body.input, history, stored, new_id)
        may_take_long = body.is_constrained or len(items) > _MANY_ITEMS
        spec = await off_loop(may_take_long, turn_of, body, items)
        begun = response_of(body, new_id, time.time())
        builder = ResponseBuilder(begun, item_ids(begun.id), time.time)
        recording = self._record(begun, items, spec, request, known)
        if body.background:
            await self._background.start(spec, builder, await recording)
            respond_json(response, builder.response)
            return
        if body.stream:
            await respond_events(
                request,
                response,
                self._stream(spec, request, builder, recording),
                partial(refused, builder),
                heartbeat=lambda: frames(builder.heartbeat()),
            )
            return
        keep = await self._keeper(await recording)
        turn = await self._begin_turn(spec, request)
        try:
            await collect(turn, builder)
        finally:
            turn.close()
        await keep(builder.response)
        respond_json(response, builder.response)

    async def _begin_turn(self, spec: TurnSpec, request: falcon.asgi.Request) -> AnyTurn:
        truncates = spec.samplings[0].truncate_prompt == FITS_THE_CONTEXT
        with renaming_params(_PARAMS | ({"truncate_prompt_tokens": "truncation"} if truncates else {})):
            return await self._begin(spec, request)

    async def _record(
        self,
        begun: ResponseBody,
        items: list[Item],
        spec: TurnSpec,
        request: falcon.asgi.Request,
        known: dict[str, Media],
    ) -> Record:
        """Of a response before its output, whose images have been fetched. Raises ServerError."""
        fetched = await self._images.fill(spec, request, known)
        record = Record(response=begun, input=items, fetched=fetched)
        if begun.store:
            self._records.check_images(record)
        return record

    async def _stream(
        self,
        spec: TurnSpec,
        request: falcon.asgi.Request,
        builder: ResponseBuilder,
        recording: Awaitable[Record],
    ) -> AsyncIterator[bytes]:
        keep = await self._keeper(await recording)
        turn = await self._begin_turn(spec, request)
        return stream(turn, builder, keep, writer_of(request.scope), exchange_of(request.scope))

    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, response_id: str
    ) -> None:
        if request.get_param_as_bool("stream"):
            raise BadRequest("stream: a stored response cannot be streamed", "stream")
        respond_json(response, self._current(await self._records.find(response_id)))

    async def on_delete_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, response_id: str
    ) -> None:
        await self._background.cancel(response_id)
        await self._records.delete(response_id)
        respond_json(response, Deleted(response_id))

    async def on_post_cancel(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, response_id: str
    ) -> None:
        record = await self._records.find(response_id)
        if not record.response.background:
            raise BadRequest("only a background response can be cancelled", "response_id")
        await self._background.cancel(response_id)
        record = await self._records.update(response_id, _cancelled) or record
        respond_json(response, self._current(record))

    async def on_get_items(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, response_id: str
    ) -> None:
        order = request.get_param("order", default="desc")
        if order not in ("asc", "desc"):
            raise BadRequest(f"order: must be asc or desc, not {order!r}", "order")
        limit = request.get_param_as_int("limit", default=_LISTED)
        if not 1 <= limit <= _MOST_LISTED:
            raise BadRequest(f"limit: must be from 1 to {_MOST_LISTED}", "limit")
        record = await self._records.find(response_id)
        items = record.input if order == "asc" else record.input[::-1]
        respond_json(response, page(items, request.get_param("after"), limit))

    async def _history(self, previous_id: str | None, known: dict[str, Media]) -> list[Item]:
        """What was said up to and in the previous response, whose fetched images are added to `known`.

        Raises BadRequest.
        """
        if previous_id is None:
            return []
        where = "previous_response_id"
        record = await self._records.load(previous_id)
        if record is None:
            error = BadRequest(f"{where}: there is no response {previous_id!r}; it may have expired", where)
            error.code = "previous_response_not_found"
            raise error
        current = self._current(record)  # of which the last is perhaps not stored yet
        if current.status not in ("completed", "incomplete"):
            raise BadRequest(f"{where}: the response {previous_id!r} is {current.status}", where)
        known |= record.fetched
        return [*record.input, *current.output]

    async def _referred(
        self, references: list[str], history: list[Item], known: dict[str, Media]
    ) -> dict[str, Item]:
        """Stored items by their ids. The latest come first: with them those of their conversations.

        Their fetched images are added to `known`.
        """
        stored = {item.id: item for item in history}
        sought: set[str] = set()
        for item_id in reversed(references):
            response_id = response_id_of(item_id)
            if item_id in stored or response_id is None or response_id in sought:
                continue
            if len(sought) == _MOST_LOOKUPS:
                break
            sought.add(response_id)
            record = await self._records.load(response_id)
            if record is not None:
                stored |= {item.id: item for item in record.conversation}
                known |= record.fetched
        return stored

    async def _keeper(self, record: Record) -> Keep:
        """What stores the response when it is done. Raises StoreUnavailable at once, not after the work."""
        if not record.response.store:
            return _forget
        await self._records.load(record.response.id)
        return lambda done: self._records.save(msgspec.structs.replace(record, response=done))

    def _current(self, record: Record) -> ResponseBody:
        return self._background.response(record.response.id) or as_of(record, time.time())


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
            raise BadRequest(f"after: there is no item {after!r}", "after")
    shown = list(items[begin : begin + limit])
    return ItemList(
        data=shown,
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
