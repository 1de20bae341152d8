"""Errors on the wire: the forms of OpenAI's, Anthropic's and Ollama's API, with status and headers."""

from typing import NamedTuple

import msgspec

from frontend.errors import HostRefused, ServerError
from frontend.http.asgi import Scope, header
from frontend.shortened import shortened

_MESSAGE_CHARACTERS = 4000
_PARAM_CHARACTERS = 500
_OLLAMA_PATHS = "/api/"
_ANTHROPIC_PATH = "/v1/messages"
_RESPONSES_PATH = "/v1/responses"
_MODELS_PATH = "/v1/models"  # of both APIs
_ANTHROPIC_VERSION = b"anthropic-version"  # a header that all clients of that API send
_OVERLOADED = 529  # Anthropic's status for what is 503 elsewhere
# What Anthropic's API calls errors, by HTTP status. The client's other errors are `invalid_request_error`,
# the server's `api_error`.
_ANTHROPIC_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
# Clients of Anthropic's API know by its words that they must shorten the conversation, and by how much.
_TOO_LONG = "prompt is too long"
_TOO_LONG_CODES = ("context_length_exceeded", "kv_cache_exceeded")


class ErrorObject(msgspec.Struct):
    message: str
    type: str
    param: str | None
    code: str


class ErrorBody(msgspec.Struct):
    error: ErrorObject


class ResponsesErrorEvent(msgspec.Struct, tag_field="type", tag="error"):
    sequence_number: int
    code: str
    message: str
    param: str | None


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


class AnthropicErrorDetails(msgspec.Struct):
    error_code: str


class AnthropicErrorObject(msgspec.Struct):
    type: str
    message: str
    details: AnthropicErrorDetails


class AnthropicErrorBody(msgspec.Struct, tag_field="type", tag="error"):
    error: AnthropicErrorObject
    request_id: str


def anthropic_error_body(error: ServerError, request_id: str) -> AnthropicErrorBody:
    other = "invalid_request_error" if error.status < 500 else "api_error"
    message = _too_long(error) if error.code in _TOO_LONG_CODES else error.message
    shown = AnthropicErrorObject(
        _ANTHROPIC_TYPES.get(error.status, other),
        shortened(message, _MESSAGE_CHARACTERS),
        AnthropicErrorDetails(error.code),
    )
    return AnthropicErrorBody(shown, request_id)


def _too_long(error: ServerError) -> str:
    sizes = error.sizes if isinstance(error, HostRefused) else None
    shown = "" if sizes is None else f"{sizes[0]} tokens > {sizes[1]} maximum; "
    return f"{_TOO_LONG}: {shown}{error.message}"


def is_anthropic(path: str) -> bool:
    """Whether a path, which is as `paths.canonical` has it, belongs to Anthropic's API."""
    return _is_within(path, _ANTHROPIC_PATH)


def _is_within(path: str, parent: str) -> bool:
    return path == parent or path.startswith(f"{parent}/")


def speaks_anthropic(scope: Scope) -> bool:
    """Whether a client of Anthropic's API asks."""
    return header(scope, _ANTHROPIC_VERSION) is not None


def form_path(scope: Scope, path: str) -> str:
    """The path whose API's form the errors of a request to `path` have: `path`, except that lists of models
    have the form of the API that the client speaks."""
    return _ANTHROPIC_PATH if _is_within(path, _MODELS_PATH) and speaks_anthropic(scope) else path


class ErrorResponse(NamedTuple):
    status: int
    headers: dict[str, str]  # without the Content-Length
    body: bytes

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """As ASGI has them, with the Content-Length."""
        headers = {**self.headers, "Content-Length": str(len(self.body))}
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def error_response(path: str, error: ServerError, request_id: str) -> ErrorResponse:
    """The response in the form of the API that the path belongs to."""
    status = error.status
    body: ErrorBody | OllamaErrorBody | AnthropicErrorBody
    if is_anthropic(path):
        body = anthropic_error_body(error, request_id)
        status = _OVERLOADED if status == 503 else status
    else:
        body = ollama_error_body(error) if path.startswith(_OLLAMA_PATHS) else error_body(error)
    return ErrorResponse(status, _headers(error), msgspec.json.encode(body))


def _headers(error: ServerError) -> dict[str, str]:
    headers = {"Content-Type": "application/json", **error.headers}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def error_event(path: str, error: ServerError, request_id: str) -> bytes:
    """The server-sent event that ends a stream of the API that the path belongs to."""
    if is_anthropic(path):
        return _named_error(anthropic_error_body(error, request_id))
    return responses_error_event(error) if _is_within(path, _RESPONSES_PATH) else openai_error_event(error)


def openai_error_event(error: ServerError) -> bytes:
    """Of a stream whose events have no names."""
    return b"data: " + msgspec.json.encode(error_body(error)) + b"\n\n"


def responses_error_event(error: ServerError, number: int = 0) -> bytes:
    """Of the Responses API, with the sequence number that is next, where that is known."""
    shown = error_body(error).error
    return _named_error(ResponsesErrorEvent(number, shown.code, shown.message, shown.param))


def _named_error(body: msgspec.Struct) -> bytes:
    return b"event: error\ndata: " + msgspec.json.encode(body) + b"\n\n"
