"""Errors on the wire: OpenAI's error object or Ollama's, and the headers that go with them."""

import msgspec

from frontend.errors import ServerError
from frontend.shortened import shortened

_MESSAGE_CHARACTERS = 4000
_PARAM_CHARACTERS = 500
_OLLAMA_PATHS = "/api/"


class ErrorObject(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(msgspec.Struct):
    error: ErrorObject


def error_body(error: ServerError) -> ErrorBody:
    """Bounded, although a message may quote what the client sent."""
    param = None if error.param is None else shortened(error.param, _PARAM_CHARACTERS)
    return ErrorBody(
        ErrorObject(shortened(error.message, _MESSAGE_CHARACTERS), error.type, param, error.code)
    )


class OllamaErrorBody(msgspec.Struct):
    error: str


def ollama_error_body(error: ServerError) -> OllamaErrorBody:
    return OllamaErrorBody(shortened(error.message, _MESSAGE_CHARACTERS))


def error_body_for(path: str, error: ServerError) -> ErrorBody | OllamaErrorBody:
    """In the form of the API that the path belongs to."""
    return ollama_error_body(error) if path.startswith(_OLLAMA_PATHS) else error_body(error)


def error_headers(error: ServerError) -> dict[str, str]:
    """The headers of an error response, its Content-Length left out."""
    headers = {"Content-Type": "application/json"}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers
