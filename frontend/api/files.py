"""/v1/files: files that clients store, such as the inputs and outputs of batches."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import falcon
import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.body import naming_field
from frontend.api.generating import respond_json
from frontend.api.openapi.operation import describes
from frontend.api.schema.batches import DeletedFile, FileBody, FileForm, FileList, UploadForm
from frontend.api.uploads import Form, read_form
from frontend.batches.database import Page
from frontend.batches.input import MAX_INPUT_BYTES
from frontend.batches.record import DEFAULT_FILE_SECONDS, FileRecord, owner_of
from frontend.errors import BadRequest, NotFound, RequestTooLarge
from frontend.http.exchange import exchange_of
from frontend.shortened import quoted

MAX_LISTED = 10_000
_READ_BYTES = 256 * 1024
_NAME_CHARACTERS = 255


class Files:
    """/v1/files, /v1/files/{file_id} (suffix `one`) and …/content (suffix `content`)."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._store = server.batches.store

    @describes(
        "Store a file",
        form=UploadForm,
        answer=FileBody,
        errors=(413,),
        example={"purpose": "user_data"},
    )
    async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        async with read_form(request, self._server.spools, self._server.max_upload_bytes) as form:
            file = file_of(form, owner_of(exchange_of(request.scope).caller), self._store.now)
            assert form.file is not None
            await self._store.add_file(file, form.file)
        respond_json(response, FileBody.of(file))

    @describes(
        "The stored files",
        answer=FileList,
        query={"after": str, "limit": int, "order": Literal["asc", "desc"], "purpose": str},
        errors=(404,),
    )
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        page = page_of(request, MAX_LISTED, MAX_LISTED)
        page = page._replace(purpose=request.get_param("purpose"))
        files = await self._store.files(owner_of(exchange_of(request.scope).caller), page)
        shown = [FileBody.of(file) for file in files[: page.limit]]
        first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
        respond_json(response, FileList(shown, len(files) > len(shown), first, last))

    @describes("A stored file", answer=FileBody, errors=(404,))
    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, file_id: str
    ) -> None:
        file = await self._store.file(file_id, owner_of(exchange_of(request.scope).caller))
        respond_json(response, FileBody.of(file))

    @describes("Delete a stored file", answer=DeletedFile, errors=(404,))
    async def on_delete_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, file_id: str
    ) -> None:
        await self._store.remove_file(file_id, owner_of(exchange_of(request.scope).caller))
        respond_json(response, DeletedFile(file_id))

    @describes("The content of a stored file", media=("application/octet-stream",), errors=(404,))
    async def on_get_content(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, file_id: str
    ) -> None:
        file = await self._store.file(file_id, owner_of(exchange_of(request.scope).caller))
        response.content_type = "application/octet-stream"
        response.content_length = file.size
        response.set_header(
            "Content-Disposition", f"attachment; filename*=UTF-8''{quote(file.name, safe='')}"
        )
        response.set_stream(await _content(self._store.content(file.id)), file.size)


def file_of(form: Form, owner: str, now: int) -> FileRecord:
    """What a form stores. Raises BadRequest and RequestTooLarge."""
    if form.file is None:
        raise BadRequest("file is missing: send it as a part of the form", "file")
    fields = _fields_of(form)
    if fields.purpose == "batch" and len(form.file) > MAX_INPUT_BYTES:
        raise RequestTooLarge(f"file exceeds {MAX_INPUT_BYTES} bytes, the limit for purpose batch", "file")
    seconds = DEFAULT_FILE_SECONDS if fields.purpose == "batch" else None
    if fields.expires_after is not None:
        seconds = fields.expires_after.seconds
    return FileRecord(
        id=f"file-{uuid.uuid4().hex}",
        owner=owner,
        name=form.file_name[:_NAME_CHARACTERS] or "file",
        purpose=fields.purpose,
        size=len(form.file),
        created_at=now,
        expires_at=None if seconds is None else now + seconds,
    )


def _fields_of(form: Form) -> FileForm:
    names = {"anchor": "expires_after[anchor]", "seconds": "expires_after[seconds]"}
    expiry = {key: value for key, name in names.items() if (value := form.one(name)) is not None}
    purpose = form.one("purpose")
    fields: dict[str, Any] = {"purpose": purpose} if purpose is not None else {}
    with naming_field(FileForm):
        return msgspec.convert(fields | ({"expires_after": expiry} if expiry else {}), FileForm, strict=False)


def page_of(request: falcon.asgi.Request, usual: int, most: int) -> Page:
    """What a request for a list asks for. Raises BadRequest."""
    order = request.get_param("order", default="desc")
    if order not in ("asc", "desc"):
        raise BadRequest(f"order: must be asc or desc, not {quoted(order)}", "order")
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
