"""The outcome of a request in a batch: a line in an output file, or another attempt."""

import random
import uuid

import msgspec

from frontend.errors import BadRequest, ServerError
from frontend.http.error_body import error_response
from frontend.usage import TokenUsage, usage_of

_BUSY = (429, 503, 529)  # 529 is Anthropic's 503
_MAX_BUSY_ATTEMPTS = 100  # with a 503; a 429 is retried until the batch expires
_MAX_LATE_ATTEMPTS = 5  # with a 502 or 504, which a long wait in the queue can cause
_MAX_WAIT_SECONDS = 60.0
_REFUSED = {
    "stream": "stream must not be true in a batch; leave it out",
    "background": "background must not be true in a batch; leave it out",
}


class LineResponse(msgspec.Struct):
    status_code: int
    request_id: str
    body: msgspec.Raw


class LineError(msgspec.Struct):
    code: str
    message: str


class OutputLine(msgspec.Struct):
    id: str
    custom_id: str
    response: LineResponse | None
    error: LineError | None


class Result(msgspec.Struct, frozen=True):
    """The end of one request. `line` ends with a newline."""

    line: bytes
    failed: bool
    usage: TokenUsage = TokenUsage()


class _Modes(msgspec.Struct):
    """Undecoded, since a client may write anything there, in any amount."""

    stream: msgspec.Raw = msgspec.Raw()
    background: msgspec.Raw = msgspec.Raw()


def refusal(body: bytes) -> ServerError | None:
    """Why a request cannot be made in a batch, if it cannot."""
    try:
        modes = msgspec.json.decode(body, type=_Modes)
    except (ValueError, RecursionError):
        return None  # the endpoint says what is wrong
    for name, message in _REFUSED.items():
        if bytes(getattr(modes, name)) == b"true":
            return BadRequest(message, name)
    return None


def refused(custom_id: str, path: str, error: ServerError, request_id: str) -> Result:
    """In the form in which the endpoint at `path` would refuse it."""
    answer = error_response(path, error, request_id)
    return answered(custom_id, answer.status, request_id, answer.body)


def answered(custom_id: str, status: int, request_id: str, body: bytes) -> Result:
    """The endpoint's answer, which is final."""
    response = LineResponse(status, request_id, msgspec.Raw(_on_one_line(body)))
    failed = status >= 400
    usage = None if failed else usage_of(body)
    return Result(_encoded(custom_id, response, None), failed, usage or TokenUsage())


def unanswered(custom_id: str, code: str, message: str) -> Result:
    """A request that was not answered."""
    return Result(_encoded(custom_id, None, LineError(code, message)), failed=True)


def seconds_to_retry(status: int, retry_after: str | None, attempts: int) -> float | None:
    """The wait before another attempt after this answer, the last of `attempts`; None: it is final."""
    most = _MAX_BUSY_ATTEMPTS if status in _BUSY else _MAX_LATE_ATTEMPTS
    if status not in (*_BUSY, 502, 504) or (status != 429 and attempts >= most):
        return None
    asked = float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdecimal() else 0.0
    backoff = min(0.25 * 2.0 ** min(attempts, 10), _MAX_WAIT_SECONDS)
    backoff *= random.uniform(0.5, 1.0)  # noqa: S311 - no secret
    # Retry-After is exact for a limit, but a guess for something that is unavailable.
    wait = asked if asked and status == 429 else max(asked, backoff)
    return min(wait, _MAX_WAIT_SECONDS)


def _encoded(custom_id: str, response: LineResponse | None, error: LineError | None) -> bytes:
    line = OutputLine(f"batch_req_{uuid.uuid4().hex}", custom_id, response, error)
    return msgspec.json.encode(line) + b"\n"


def _on_one_line(body: bytes) -> bytes:
    """The JSON value as it is, unless it spans lines; what is not JSON, as a string."""
    try:
        value = msgspec.json.decode(body, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return msgspec.json.encode(body.decode(errors="replace"))
    return msgspec.json.format(bytes(value), indent=-1) if b"\n" in body else body
