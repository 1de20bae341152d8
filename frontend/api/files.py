"""/v1/files: files that clients store, such as the inputs and outputs of batches."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import falcon
import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.body import naming_field
from frontend.api.generating import respond_json
from frontend.api.schema.batches import DeletedFile, FileBody, FileForm, FileList
from frontend.api.uploads import Form, read_form
from frontend.batches.database import Page
from frontend.batches.input import MAX_INPUT_BYTES
from frontend.batches.record import DEFAULT_FILE_SECONDS, FileRecord, owner_of
from frontend.errors import BadRequest, NotFound, RequestTooLarge
from frontend.http.exchange import exchange_of

PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")
MAX_LISTED = 10_000
_READ_BYTES = 256 * 1024
_NAME_CHARACTERS = 255


class Files:
    """/v1/files, /v1/files/{file_id} (suffix `one`) and …/content (suffix `content`)."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._store = server.batches.store

    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        async with read_form(request, self._server.spools, self._server.max_upload_bytes) as form:
            file = file_of(form, owner_of(exchange_of(request.scope).caller), self._store.now)
            assert form.file is not None
            await self._store.add_file(file, form.file)
        respond_json(response, FileBody.of(file))

    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        page = page_of(request, MAX_LISTED, MAX_LISTED)
        page = page._replace(purpose=request.get_param("purpose"))
        files = await self._store.files(owner_of(exchange_of(request.scope).caller), page)
        shown = [FileBody.of(file) for file in files[: page.limit]]
        first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
        respond_json(response, FileList(shown, len(files) > len(shown), first, last))

    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, file_id: str
    ) -> None:
        file = await self._store.file(file_id, owner_of(exchange_of(request.scope).caller))
        respond_json(response, FileBody.of(file))

    async def on_delete_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, file_id: str
    ) -> None:
        await self._store.remove_file(file_id, owner_of(exchange_of(request.scope).caller))
        respond_json(response, DeletedFile(file_id))

    async def on_get_content(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, file_id: str
    ) -> None:
        file = await self._store.file(file_id, owner_of(exchange_of(request.scope).caller))
        response.content_type = "application/octet-stream"
        response.content_length = file.size
        response.set_header(
            "Content-Disposition", f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"
        )
        response.set_stream(await _content(self._store.folder.content(file.id)), file.size)


def file_of(form: Form, owner: str, now: int) -> FileRecord:
    """What a form stores. Raises BadRequest and RequestTooLarge."""
    if form.file is None:
        raise BadRequest("file is missing: send it as a part of the form", "file")
    purpose = form.one("purpose")
    if purpose not in PURPOSES:
        what = "is missing" if purpose is None else "is unknown"
        raise BadRequest(f"purpose {what}: it must be one of {', '.join(PURPOSES)}", "purpose")
    if purpose == "batch" and len(form.file) > MAX_INPUT_BYTES:
        raise RequestTooLarge(f"file exceeds {MAX_INPUT_BYTES} bytes, the limit for purpose batch", "file")
    seconds = _expires_after(form)
    if seconds is None and purpose == "batch":
        seconds = DEFAULT_FILE_SECONDS
    return FileRecord(
        id=f"file-{uuid.uuid4().hex}",
        owner=owner,
        name=form.file_name[:_NAME_CHARACTERS] or "file",
        purpose=purpose,
        size=len(form.file),
        created_at=now,
        expires_at=None if seconds is None else now + seconds,
    )


def _expires_after(form: Form) -> int | None:
    given = {name: form.one(f"expires_after[{name}]") for name in ("anchor", "seconds")}
    given = {name: value for name, value in given.items() if value is not None}
    if not given:
        return None
    with naming_field():
        return msgspec.convert({"expires_after": given}, FileForm, strict=False).expires_after.seconds


def page_of(request: falcon.asgi.Request, usual: int, most: int) -> Page:
    """What a request for a list asks for. Raises BadRequest."""
    order = request.get_param("order", default="desc")
    if order not in ("asc", "desc"):
        raise BadRequest(f"order: must be asc or desc, not {order!r}", "order")
    limit = request.get_param_as_int("limit", default=usual)
    if not 1 <= limit <= most:
        raise BadRequest(f"limit: must be from 1 to {most}", "limit")
    return Page(request.get_param("after"), limit, order == "desc")


async def _content(path: Path) -> AsyncIterator[bytes]:
    """The parts of a file, read in threads. Raises NotFound if it was removed meanwhile."""
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError:
        raise NotFound("there is no such file any more", "file_id") from None

    async def parts() -> AsyncIterator[bytes]:
        with file:
            while part := await asyncio.to_thread(file.read, _READ_BYTES):
                yield part

    return parts()


def install(app: App, server: Server) -> None:
    files = Files(server)
    app.add_route("/v1/files", files)
    app.add_route("/v1/files/{file_id}", files, suffix="one")
    app.add_route("/v1/files/{file_id}/content", files, suffix="content")
