"""/v1/batches: many requests in a file, answered while nobody waits."""

import re
import uuid
from typing import Literal

import falcon
import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.body import read_json
from frontend.api.files import page_of
from frontend.api.generating import respond_json
from frontend.api.openapi.operation import describes
from frontend.api.schema.batches import BatchBody, BatchList, BatchRequest
from frontend.batches.input import BATCHED_PATHS, MAX_INPUT_BYTES
from frontend.batches.record import DAY_SECONDS, DEFAULT_FILE_SECONDS, BatchRecord, FileRecord, owner_of
from frontend.caller import Caller
from frontend.errors import BadRequest
from frontend.http.exchange import exchange_of

_LISTED, _MAX_LISTED = 20, 100
_WINDOW = re.compile(r"([1-9]\d{0,5})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY_SECONDS}
_MAX_WINDOW_SECONDS = 30 * DAY_SECONDS

_decoder = msgspec.json.Decoder(BatchRequest)


class BatchResource:
    """/v1/batches, /v1/batches/{batch_id} (suffix `one`) and …/cancel (suffix `cancel`)."""

    def __init__(self, server: Server) -> None:
        self._batches = server.batches
        self._max_body_bytes = server.max_body_bytes

    @describes(
        "Make a batch of the requests in a file",
        body=BatchRequest,
        answer=BatchBody,
        errors=(404,),
        example={"input_file_id": "file-1", "endpoint": "/v1/chat/completions", "completion_window": "24h"},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        body, _ = await read_json(request, self._max_body_bytes, _decoder)
        seconds = window_seconds(body)
        caller = exchange_of(request.scope).caller
        store = self._batches.store
        file = await store.file(body.input_file_id, owner_of(caller), "input_file_id")
        batch = batch_of(body, file, caller, store.now, seconds)
        await self._batches.add(batch)
        respond_json(response, BatchBody.of(batch))

    @describes(
        "The batches",
        answer=BatchList,
        query={"after": str, "limit": int, "order": Literal["asc", "desc"]},
        errors=(404,),
    )
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        page = page_of(request, _LISTED, _MAX_LISTED)
        batches = await self._batches.store.batches(owner_of(exchange_of(request.scope).caller), page)
        shown = [BatchBody.of(batch) for batch in batches[: page.limit]]
        first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
        respond_json(response, BatchList(shown, len(batches) > len(shown), first, last))

    @describes("A batch", answer=BatchBody, errors=(404,))
    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, batch_id: str
    ) -> None:
        batch = await self._batches.store.batch(batch_id, owner_of(exchange_of(request.scope).caller))
        respond_json(response, BatchBody.of(batch))

    @describes("Cancel a batch", answer=BatchBody, errors=(404,))
    async def on_post_cancel(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, batch_id: str
    ) -> None:
        batch = await self._batches.cancel(batch_id, owner_of(exchange_of(request.scope).caller))
        respond_json(response, BatchBody.of(batch))


def window_seconds(body: BatchRequest) -> int:
    """The time that a batch may take. Raises BadRequest for what is wrong with a request as it stands."""
    if body.endpoint not in BATCHED_PATHS:
        raise BadRequest(f"endpoint: must be one of {', '.join(BATCHED_PATHS)}", "endpoint")
    found = _WINDOW.fullmatch(body.completion_window)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _MAX_WINDOW_SECONDS:
        raise BadRequest(
            "completion_window: must be a duration of at most 30 days such as 24h, 30m or 7d",
            "completion_window",
        )
    return seconds


def batch_of(
    body: BatchRequest, file: FileRecord, caller: Caller, now: int, window_seconds: int
) -> BatchRecord:
    """Raises BadRequest if the file cannot be an input."""
    if file.purpose != "batch":
        raise BadRequest(
            f"input_file_id: the file has the purpose {file.purpose}; upload it with the purpose batch",
            "input_file_id",
        )
    if file.size > MAX_INPUT_BYTES:
        raise BadRequest(f"input_file_id: the file exceeds {MAX_INPUT_BYTES} bytes", "input_file_id")
    kept = body.output_expires_after
    return BatchRecord(
        id=f"batch_{uuid.uuid4().hex}",
        caller=msgspec.structs.replace(caller, is_batch=True),
        endpoint=body.endpoint,
        input_file_id=body.input_file_id,
        completion_window=body.completion_window,
        created_at=now,
        expires_at=now + window_seconds,
        output_id=f"file-{uuid.uuid4().hex}",
        error_id=f"file-{uuid.uuid4().hex}",
        metadata=body.metadata,
        output_seconds=DEFAULT_FILE_SECONDS if kept is None else kept.seconds,
    )


def install(app: App, server: Server) -> None:
    batches = BatchResource(server)
    app.add_route("/v1/batches", batches)
    app.add_route("/v1/batches/{batch_id}", batches, suffix="one")
    app.add_route("/v1/batches/{batch_id}/cancel", batches, suffix="cancel")
