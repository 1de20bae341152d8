"""Reading multipart forms: fields in any order, and one file, which goes to disk as it comes."""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import falcon
import falcon.asgi
import msgspec
from falcon.asgi.multipart import BodyPart, MultipartForm
from falcon.media import MultipartFormHandler
from falcon.media.multipart import MultipartParseOptions
from falcon.typing import AsyncReadableIO

from frontend.errors import BadRequest, Overloaded, RequestTooLarge
from frontend.http.client import check_not_ended
from frontend.spool import Spool, Spools

_MAX_PARTS = 256
_MAX_FIELD_BYTES = 256 * 1024
_MAX_FIELDS_BYTES = 1024 * 1024  # of all fields together, the heads of the parts included
# Of the head of the form, and of that of a part. Falcon reads them in a time that grows quadratically.
_MAX_TYPE_CHARACTERS = 1024
_MAX_HEAD_BYTES = 2048
_WRITE_BYTES = 1024 * 1024  # that are written to the disk at once

log = logging.getLogger("nacelle.api")


class Form(msgspec.Struct):
    """What a form holds. A field may occur several times."""

    fields: dict[str, list[str]] = {}
    file: Spool | None = None
    file_name: str = ""

    def one(self, name: str) -> str | None:
        """The value of a field that may occur once. Raises BadRequest."""
        values = self.fields.get(name, [])
        if len(values) > 1:
            raise BadRequest(f"{name} must occur once, not {len(values)} times", name)
        return values[0] if values else None


def _handler() -> MultipartFormHandler:
    options = MultipartParseOptions()
    options.max_body_part_count = _MAX_PARTS
    options.max_body_part_buffer_size = _MAX_FIELD_BYTES
    options.max_body_part_headers_size = _MAX_HEAD_BYTES
    return MultipartFormHandler(options)


@asynccontextmanager
async def read_form(
    request: falcon.asgi.Request, spools: Spools, max_file_bytes: int, file_field: str = "file"
) -> AsyncIterator[Form]:
    """The form of a request. Its file is kept until the context ends.

    Raises BadRequest, RequestTooLarge, and Overloaded, also if the disk is full.
    """
    if (request.content_length or 0) > max_file_bytes + _MAX_FIELDS_BYTES:
        raise _too_large(file_field, max_file_bytes)
    form = Form()
    try:
        async for part in await _parts(request, max_file_bytes + _MAX_FIELDS_BYTES):
            await asyncio.sleep(0)  # others have their turn
            await _read_part(part, form, spools, max_file_bytes, file_field)
        yield form
    finally:
        if form.file is not None:
            form.file.close()


async def _parts(request: falcon.asgi.Request, limit: int) -> MultipartForm:
    content_type = request.content_type or ""
    if not content_type.lower().startswith(falcon.MEDIA_MULTIPART):
        raise BadRequest("the body must be multipart/form-data")
    if len(content_type) > _MAX_TYPE_CHARACTERS:
        raise BadRequest(f"Content-Type exceeds {_MAX_TYPE_CHARACTERS} characters", "Content-Type")
    stream = cast(AsyncReadableIO, _bounded(request.stream, limit))  # whose iterator alone is used
    form: MultipartForm = await _handler().deserialize_async(stream, content_type, request.content_length)
    return form


async def _bounded(stream: AsyncIterable[bytes], limit: int) -> AsyncIterator[bytes]:
    """What comes before the first part and between two is read as well."""
    length = 0
    async for chunk in stream:
        check_not_ended()
        length += len(chunk)
        if length > limit:
            raise RequestTooLarge(f"the request body exceeds {limit} bytes")
        yield chunk


async def _read_part(
    part: BodyPart, form: Form, spools: Spools, max_file_bytes: int, file_field: str
) -> None:
    name, file_name = _names_of(part)
    if name == file_field:
        if form.file is not None:
            raise BadRequest(f"{name} must occur once", name)
        form.file_name = file_name
        form.file = await _spooled(part, spools, max_file_bytes, file_field)
        return
    held = sum(len(value) for values in form.fields.values() for value in values)
    data = await part.stream.read(_MAX_FIELD_BYTES + 1)
    if len(data) > _MAX_FIELD_BYTES or held + len(data) > _MAX_FIELDS_BYTES:
        raise RequestTooLarge(f"{name} is too large for a field of a form", name)
    try:
        form.fields.setdefault(name, []).append(data.decode())
    except UnicodeDecodeError:
        raise BadRequest(f"{name} is not valid UTF-8", name) from None


def _names_of(part: BodyPart) -> tuple[str, str]:
    """The names of the field and of the file; either may be empty. Raises BadRequest."""
    try:
        field, file = part.name or "", part.filename or ""
        file.encode()  # `filename*` may name a charset in which halves of surrogate pairs can be written
    except UnicodeError:
        raise BadRequest("the name of a field or file of the form is not valid UTF-8") from None
    return field, file


async def _spooled(part: BodyPart, spools: Spools, limit: int, field: str) -> Spool:
    try:
        spool = spools.create()
        try:
            await _copy(part, spool, limit, field)
        except BaseException:
            spool.close()
            raise
    except OSError as error:
        log.error("an upload could not be stored: %s", error)
        raise Overloaded(f"the upload could not be stored: {error.strerror}") from error
    return spool


async def _copy(part: BodyPart, spool: Spool, limit: int, field: str) -> None:
    parts: list[bytes] = []  # as they came: joining them would cost more than parsing them
    held = 0
    async for chunk in part.stream:
        if len(spool) + held + len(chunk) > limit:
            raise _too_large(field, limit)
        parts.append(chunk)
        held += len(chunk)
        if held >= _WRITE_BYTES:
            await spool.write(*parts)
            parts, held = [], 0
    if parts:
        await spool.write(*parts)


def _too_large(field: str, limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"{field} exceeds {limit} bytes", field)
