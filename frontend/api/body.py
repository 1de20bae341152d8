"""Reading a JSON request body into its Struct, with errors that name the field."""

import codecs
import json
import math
import re
from typing import Any, TypeVar

import falcon.asgi
import msgspec

from frontend.errors import BadRequest, RequestTooLarge

Body = TypeVar("Body")

_AT_PATH = re.compile(r"(.*) - at `\$\.?(.*)`$", re.DOTALL)
_FIELD = re.compile(r"field `(.+?)`")


async def read_body(request: falcon.asgi.Request, limit: int) -> bytes:
    """Raises RequestTooLarge above `limit` bytes, without reading further."""
    too_large = RequestTooLarge(f"the request body exceeds {limit} bytes")
    if (request.content_length or 0) > limit:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream:
        size += len(chunk)
        if size > limit:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def decode(data: bytes, decoder: "msgspec.json.Decoder[Body]") -> Body:
    """Raises BadRequest."""
    try:
        return decoder.decode(data.removeprefix(codecs.BOM_UTF8))
    except msgspec.ValidationError as error:
        raise _bad_value(str(error)) from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except UnicodeDecodeError:
        raise BadRequest("the body is not valid UTF-8") from None
    except msgspec.DecodeError as error:
        raise _not_json(data, str(error)) from None


def _bad_value(complaint: str) -> BadRequest:
    located = _AT_PATH.match(complaint)
    what, path = located.groups() if located else (complaint, "")
    if field := _FIELD.search(what):  # "missing required field `x`": the path is of what lacks it
        path = f"{path}.{field[1]}" if path else field[1]
    return BadRequest(f"{path}: {what}" if path else what, path or None)


def _not_json(data: bytes, complaint: str) -> BadRequest:
    """NaN and Infinity are the one mistake in JSON that is made by value, so it can be named by field."""
    try:
        lenient = json.loads(data)
        path = _non_finite(lenient, "")
    except (ValueError, RecursionError):
        path = None
    if path is not None:
        return BadRequest(f"{path}: NaN and Infinity are not JSON numbers", path)
    return BadRequest(f"the body is not valid JSON: {complaint}")


def _non_finite(value: Any, path: str) -> str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return path
    children: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        children = [(f"{path}.{key}" if path else key, child) for key, child in value.items()]
    elif isinstance(value, list):
        children = [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    return next(
        (found for where, child in children if (found := _non_finite(child, where)) is not None), None
    )
