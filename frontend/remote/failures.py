"""How errors cross between two Nacelles, and which of them mean that another replica may do the work."""

from frontend import errors
from frontend.errors import EngineFailed, HostRefused, InternalError, ServerError
from frontend.remote.wire import Rejected
from ipc.errors import ErrorCode, RequestError
from ipc.messages import Failed

# The peer cannot do it now; somebody else may.
_ELSEWHERE: tuple[type[ServerError], ...] = (
    errors.QueueFull,
    errors.Overloaded,
    errors.ModelUnavailable,
    errors.ModelNotFound,
    errors.ShuttingDown,
)
_FINAL: tuple[type[ServerError], ...] = (
    errors.BadRequest,
    errors.RequestTooLarge,
    errors.RequestBlamed,
    errors.RequestTimeout,
    errors.EngineCrashed,
    errors.InternalError,
)
_KINDS = {kind.__name__: kind for kind in (*_ELSEWHERE, *_FINAL)}


def rejection(request_id: int, error: Exception) -> Failed | Rejected:
    """The message that stands for an error on the wire. What is unforeseen is not shown to others."""
    if isinstance(error, HostRefused):
        return Failed(
            request_id, RequestError(ErrorCode(error.code), error.message, error.param, error.sizes)
        )
    if isinstance(error, EngineFailed):
        return Failed(request_id, RequestError(ErrorCode.ENGINE_FAILED, error.message, error.param))
    if not isinstance(error, ServerError) or type(error).__name__ not in _KINDS:
        error = InternalError("the request could not be processed")
    kind = type(error).__name__
    return Rejected(request_id, kind, error.message, error.param, error.retry_after)


def error_of(message: Rejected, backend: str) -> ServerError:
    """The error that a Rejected stands for, with the backend's name in its message."""
    kind = _KINDS.get(message.kind, InternalError)
    return kind(f"{message.message} (at {backend})", message.param, message.retry_after)


def may_go_elsewhere(error: ServerError) -> bool:
    return isinstance(error, _ELSEWHERE)
