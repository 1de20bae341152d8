"""Every error that a client can receive, with its HTTP status.

ServerError
├── BadRequest 400 ─── HostRefused (a request that a host rejected)
├── Unauthorized 401 · Forbidden 403 · NotFound 404 · ModelNotFound 404 · MethodNotAllowed 405
├── Conflict 409 · RequestTooLarge 413 · RequestBlamed 422 · KeyReused 422 · QueueFull 429
├── EngineFailed 500 · EngineCrashed 500 · InternalError 500 · BackendFailed 502
├── ModelUnavailable 503 · Overloaded 503 · StoreUnavailable 503 · ShuttingDown 503 · DownloadFailed 503
└── RequestTimeout 504
"""

from typing import ClassVar

from ipc.errors import ErrorCode, RequestError


class ServerError(Exception):
    """The base class. `code` is machine-readable, `type` is OpenAI's error type, `param` names a field."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: str = "internal_error"

    def __init__(self, message: str, param: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after  # seconds


class BadRequest(ServerError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_value"


class HostRefused(BadRequest):
    """A host rejected the request; `code` is the host's error code."""

    def __init__(self, error: RequestError) -> None:
        named = error.param is None or error.param in error.message
        super().__init__(error.message if named else f"{error.param}: {error.message}", error.param)
        self.code = error.code.value
        self.sizes = error.sizes  # of a prompt that is too long, as RequestError has them


class Unauthorized(ServerError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"


class Forbidden(ServerError):
    status = 403
    type = "permission_error"
    code = "forbidden"


class NotFound(ServerError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(ServerError):
    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"


class Conflict(ServerError):
    """Another request is changing the same resource."""

    status = 409
    type = "invalid_request_error"
    code = "conflict"


class RequestTooLarge(ServerError):
    status = 413
    type = "invalid_request_error"
    code = "request_too_large"


class RequestBlamed(ServerError):
    """A similar request recently killed engine hosts."""

    status = 422
    type = "invalid_request_error"
    code = "request_blamed"


class KeyReused(ServerError):
    """An Idempotency-Key came with another request before."""

    status = 422
    type = "invalid_request_error"
    code = "idempotency_key_reused"


class QueueFull(ServerError):
    status = 429
    type = "rate_limit_error"
    code = "queue_full"


class EngineFailed(ServerError):
    """The engine raised an error for this request."""

    code = "engine_failed"


class EngineCrashed(ServerError):
    """The host died while it was processing this request."""

    code = "engine_crashed"


class InternalError(ServerError):
    """A defect in the frontend; the log has the details."""


class DownloadFailed(ServerError):
    """A model could not be downloaded, or not be converted."""

    status = 503
    code = "download_failed"


class BackendFailed(ServerError):
    """Another server, which has the model, answered with an error, or not to the end."""

    status = 502
    code = "backend_failed"


class ModelUnavailable(ServerError):
    """No replica is running, and none will be soon."""

    status = 503
    code = "model_unavailable"


class Overloaded(ServerError):
    """Capacity did not become available in time."""

    status = 503
    code = "overloaded"


class StoreUnavailable(ServerError):
    """The session store does not answer."""

    status = 503
    code = "store_unavailable"


class ShuttingDown(ServerError):
    status = 503
    code = "shutting_down"


class RequestTimeout(ServerError):
    status = 504
    code = "request_timeout"


class ClientGone(Exception):
    """The client closed its connection, so there is nobody to answer."""


_HOST_ERRORS: dict[ErrorCode, type[HostRefused] | type[EngineFailed]] = {
    ErrorCode.INVALID_VALUE: HostRefused,
    ErrorCode.CONTEXT_LENGTH_EXCEEDED: HostRefused,
    ErrorCode.KV_CACHE_EXCEEDED: HostRefused,
    ErrorCode.CHAT_TEMPLATE_FAILED: HostRefused,
    ErrorCode.ENGINE_FAILED: EngineFailed,
}


def from_host(error: RequestError) -> ServerError:
    """The client's error for a failure that a host reported."""
    kind = _HOST_ERRORS[error.code]
    return HostRefused(error) if kind is HostRefused else EngineFailed(error.message, error.param)
