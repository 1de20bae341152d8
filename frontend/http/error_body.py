"""Errors on the wire: OpenAI's error object, and the headers that go with it."""

import msgspec

from frontend.errors import ServerError


class ErrorObject(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(msgspec.Struct):
    error: ErrorObject


def error_body(error: ServerError) -> ErrorBody:
    return ErrorBody(ErrorObject(error.message, error.type, error.param, error.code))


def error_headers(error: ServerError) -> dict[str, str]:
    """The headers of an error response, its Content-Length left out."""
    headers = {"Content-Type": "application/json"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers
