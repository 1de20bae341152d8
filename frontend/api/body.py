"""Reading a JSON request body into its Struct, with errors that name the field."""

import codecs
import contextlib
import gc
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import falcon.asgi
import msgspec

from frontend.allowed_values import allowed_values
from frontend.api.json_depth import MOST_LEVELS, deep_field, is_deep
from frontend.api.json_size import JsonLimits, JsonSize
from frontend.api.schema.patterns import WORDS
from frontend.config_values import one_of
from frontend.errors import BadRequest, RequestTooLarge
from frontend.http.client import check_not_ended
from frontend.shortened import VALUE_CHARACTERS, shortened

Body = TypeVar("Body")
T = TypeVar("T")

LARGE_BYTES = 64 * 1024  # what is made of a larger body may take more than a few milliseconds
_LIMITS = JsonLimits()

_AT_PATH = re.compile(r"(.*) - at (`key` in )?`\$\.?(.*)`$", re.DOTALL)
_FIELD = re.compile(r"field `(.+?)`")
_MISSING = "Object missing required field"
_NOT_ALLOWED = re.compile(r"Invalid (?:enum )?value (.*)", re.DOTALL)
_IN_WORDS = {f"matching regex {pattern!r}": f"of {words}" for pattern, words in WORDS.items()}
_AT_BYTE = re.compile(r"\(byte (\d+)\)\Z")
_HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
# What comes before the first of them that is no part of a pair: escapes are read in order, since a backslash
# may itself be escaped.
_WHOLE_CHARACTERS = re.compile(
    rb"[^\\]*+(?:\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?!u[dD][89a-fA-F][0-9a-fA-F]{2}).)[^\\]*+)*+",
    re.DOTALL,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_SEARCHED_BYTES = 16 * 1024  # of a body that is not JSON
_KEY_BYTES = 256
_KEY = re.compile(rb'"([A-Za-z0-9_]+)"\s*:\s*-?\Z')


async def read_body(request: falcon.asgi.Request, limit: int, json_limits: JsonLimits = _LIMITS) -> bytes:
    """The body, which is safe to decode: at most `limit` bytes, with no more in them than `json_limits`.

    Raises RequestTooLarge without reading further, and the error of a request that was cancelled meanwhile.
    """
    data, _ = await read_sized(request, limit, json_limits)
    return data


async def read_sized(
    request: falcon.asgi.Request, limit: int, json_limits: JsonLimits
) -> tuple[bytes, JsonSize]:
    """As `read_body`, with what is in the body."""
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    length, size = 0, JsonSize()
    async for chunk in request.stream:
        check_not_ended()
        length += len(chunk)
        if length > limit:
            raise too_large(limit)
        chunks.append(chunk)
        await size.add_in_turns(chunk, json_limits)
    return b"".join(chunks), size


def too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"the request body exceeds {limit} bytes")


async def read_json(
    request: falcon.asgi.Request,
    limit: int,
    decoder: "msgspec.json.Decoder[Body]",
    extra: int = 0,
    extra_of: "Callable[[Body], int] | None" = None,
) -> tuple[Body, bool]:
    """The decoded body, and whether it is so large that working on it is better done off the event loop.

    The body may exceed `limit` by at most `extra` bytes, and only by as many as `extra_of` finds in it: bytes
    that are carried, not read. Raises RequestTooLarge or BadRequest.
    """
    data = await read_body(request, limit + extra)
    body = decode(data, decoder)
    if len(data) > limit and len(data) - (extra_of(body) if extra_of is not None else 0) > limit:
        raise too_large(limit)
    return body, len(data) > LARGE_BYTES


def decode(data: bytes, decoder: "msgspec.json.Decoder[Body]") -> Body:
    """Raises BadRequest."""
    data = data.removeprefix(codecs.BOM_UTF8)
    if is_deep(data):
        raise _too_deep(data)
    try:
        with naming_field(decoder.type), _without_collections(len(data) > LARGE_BYTES):
            return decoder.decode(data)
    except RecursionError:
        raise _too_deep(data) from None
    except UnicodeDecodeError:
        raise BadRequest("the body is not valid UTF-8") from None
    except msgspec.DecodeError as error:
        raise _not_json(data, str(error)) from None


def _too_deep(data: bytes) -> BadRequest:
    field = deep_field(data)
    return BadRequest(f"{field or 'the body'} is nested more than {MOST_LEVELS} levels deep", field)


@contextlib.contextmanager
def _without_collections(is_large: bool) -> Iterator[None]:
    """Decoding makes no cycles: looking for some again and again takes longer than all the rest."""
    if not (is_large and gc.isenabled()):
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextlib.contextmanager
def naming_field(kind: Any) -> Iterator[None]:
    """What msgspec finds wrong with a value of the type `kind` is a BadRequest that names the field."""
    try:
        yield
    except msgspec.ValidationError as error:
        raise _bad_value(str(error), kind) from None


def converted(raw: Any, kind: type[T], where: str) -> T:
    """A part of a body that was left undecoded, at `where` in the body. Raises BadRequest."""
    try:
        with naming_field(kind):
            return msgspec.convert(raw, kind)
    except BadRequest as error:
        if error.param is None:
            raise BadRequest(f"{where}: {error.message}", where) from None
        dot = "" if error.param.startswith("[") else "."
        raise BadRequest(f"{where}{dot}{error.message}", f"{where}{dot}{error.param}") from None


def _bad_value(complaint: str, kind: Any) -> BadRequest:
    located = _AT_PATH.match(complaint)
    what, in_key, path = located.groups() if located else (complaint, None, "")
    if in_key:
        what = f"{what} as a key"
    if field := _FIELD.search(what):  # "missing required field `x`": the path is of what lacks it
        path = f"{path}.{field[1]}" if path else field[1]
    if what.startswith(_MISSING):
        return BadRequest(f"{path} is missing", path)
    if (given := _NOT_ALLOWED.fullmatch(what)) and (allowed := allowed_values(kind, path)):
        what = f"must be {one_of(allowed)}, not {shortened(given[1], VALUE_CHARACTERS)}"
    for regex, words in _IN_WORDS.items():
        what = what.replace(regex, words)
    return BadRequest(f"{path}: {what}" if path else what, path or None)


def _not_json(data: bytes, complaint: str) -> BadRequest:
    """NaN, Infinity and halves of surrogate pairs are mistakes made by value: their field can be named."""
    is_short = len(data) <= _SEARCHED_BYTES
    path = _path_of(_is_not_finite, data) if is_short else _key_before(data, complaint)
    if path is not None:
        return BadRequest(f"{path}: NaN and Infinity are not JSON numbers", path)
    whole = _WHOLE_CHARACTERS.match(data)
    if whole is not None and (half := _HALF_PAIR.match(data, whole.end())) is not None:
        field = _path_of(_is_not_text, data) if is_short else None
        where, escape = field or f"byte {half.start()}", half[0].decode()
        return BadRequest(f"{where}: {escape} is half of a surrogate pair, which is no character", field)
    return BadRequest(f"the body is not valid JSON: {complaint}")


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _is_not_text(value: Any) -> bool:
    return isinstance(value, str) and _SURROGATE.search(value) is not None


def _path_of(is_wrong: Callable[[Any], bool], data: bytes) -> str | None:
    try:
        return _find(is_wrong, json.loads(data), "")
    except (ValueError, RecursionError):
        return None


def _find(is_wrong: Callable[[Any], bool], value: Any, path: str) -> str | None:
    if is_wrong(value):
        return path
    children: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        children = [(f"{path}.{key}" if path else key, child) for key, child in value.items()]
    elif isinstance(value, list):
        children = [(f"{path}[{index}]", child) for index, child in enumerate(value)]
    return next(
        (found for where, child in children if (found := _find(is_wrong, child, where)) is not None), None
    )


def _key_before(data: bytes, complaint: str) -> str | None:
    """The key whose value is NaN or an infinity, in a body that is too large to be read again."""
    found = _AT_BYTE.search(complaint)
    if found is None:
        return None
    at = int(found[1])
    if not data.startswith((b"NaN", b"Infinity"), at):
        return None
    key = _KEY.search(data[max(0, at - _KEY_BYTES) : at])
    return key[1].decode() if key else None
