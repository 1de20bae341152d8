"""Every error that a client can receive, with its HTTP status.

ServerError
├── BadRequest 400 ─── HostRefused (a request that a host rejected)
├── Unauthorized 401 ─── UnknownSigner 401 (a token whose key may be known later; in access/tokens.py)
├── Forbidden 403 · NotFound 404 · ModelNotFound 404 · MethodNotAllowed 405
├── Conflict 409 · RequestCancelled 410 · RequestTooLarge 413 · RequestBlamed 422
├── KeyReused 422 · QueueFull 429 · RateLimited 429
├── EngineFailed 500 · EngineCrashed 500 · InternalError 500 · BackendFailed 502
├── ModelUnavailable 503 · Overloaded 503 · StoreUnavailable 503 · ShuttingDown 503 · DownloadFailed 503
└── RequestTimeout 504
"""

import math
from typing import ClassVar

from ipc.errors import ErrorCode, RequestError


class ServerError(Exception):
    """The base class. `code` is machine-readable, `type` is OpenAI's error type, `param` names a field."""

    status: ClassVar[int] = 500
    type: str = "server_error"
    code: str = "internal_error"

    def __init__(
        self,
        message: str,
        param: str | None = None,
        retry_after: int | None = None,
        key_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after  # seconds
        self.key_id = key_id  # of a key that is known and was refused, for logs: it gives no rights
        self.headers: dict[str, str] = {}  # of the answer, besides those that follow from the above


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


class RequestCancelled(ServerError):
    """An operator ended the request. The status is one after which clients do not send it again."""

    status = 410
    type = "request_cancelled"
    code = "request_cancelled"


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


class RateLimited(ServerError):
    """A caller, or all of them together, used what they may for now. `type` is the kind of limit."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"

    def __init__(self, what: str, kind: str = "requests", wait_seconds: float | None = None) -> None:
        """`wait_seconds`: when to try again; None: never, as the limit is too small for this request."""
        self.type = kind
        if wait_seconds is None:
            super().__init__(what)
            self.headers = {"X-Should-Retry": "false"}
            return
        milliseconds = math.ceil(wait_seconds * 1000)
        super().__init__(
            f"{what}; try again in {milliseconds / 1000:g} s", retry_after=math.ceil(milliseconds / 1000)
        )
        self.headers = {"Retry-After-Ms": str(milliseconds)}


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
