"""One request and its response, as the access log and the metrics report them."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import msgspec

from frontend.caller import ANYBODY, Caller
from frontend.errors import ServerError
from frontend.http.asgi import Scope
from frontend.observability.traces import Moment, Trace, Value

OK = "ok"
CLIENT_GONE = "client_gone"
UNKNOWN_ROUTE = "unknown"
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that left before its response began

_SCOPE_KEY = "nacelle.exchange"


class TokenCounts(msgspec.Struct, frozen=True):
    prompt: int
    completion: int | None = None  # None for tasks that generate nothing
    cached: int | None = None  # of the prompt, found in an engine's KV cache


class Course(msgspec.Struct, frozen=True):
    """How a text generation went. Times are seconds on the monotonic clock."""

    asked: Mapping[str, Value | None]  # parameters, by their names in OpenTelemetry's conventions
    finish_reasons: tuple[str, ...]
    queue_seconds: float | None  # until the first host got it
    first_token_at: float | None
    deaths: int  # of hosts that held it
    moments: tuple[Moment, ...] = ()
    prompts: str | None = None  # JSON; only where the trace keeps texts
    answers: str | None = None


class Exchange(msgspec.Struct):
    """Created by the outermost layer; whatever handles the request adds what it knows."""

    request_id: str
    began: float  # seconds of the layer's clock
    caller: Caller = ANYBODY
    route: str = UNKNOWN_ROUTE  # the template, not the path: it labels metrics
    failure: str | None = None  # the code of the error that was sent, or CLIENT_GONE
    param: str | None = None  # the request's field that the error names
    hint: str | None = None  # what the operator may change so that such requests pass
    model: str | None = None  # as the client named it
    answered_by: str | None = None  # the model that this name means
    variants: str | None = None  # the set of variants from which that was picked
    variant_key: str | None = None  # what decided, for the whole request
    stream: bool = False  # the client asked for a stream
    heartbeat: Callable[[], bytes] | None = None  # makes the event that a silent stream sends; None: comments
    tokens: Callable[[], TokenCounts] | None = None  # reads the counts, which grow while the response is made
    course: Callable[[], Course] | None = None  # of a text generation
    trace: Trace | None = None  # while traces are on
    trace_id: str | None = None  # also where only the client traces
    first_token_seconds: Callable[[], float | None] | None = None  # from the queue to the first token
    audio_seconds: Callable[[], float] | None = None  # of recordings, as far as they are done
    phase: Callable[[], str] | None = None  # of its work, once there is any
    end: Callable[[ServerError], None] | None = None  # ends the request with an error, while that is possible
    cancelled: ServerError | None = None  # the error with which it was ended
    status: int | None = None  # of HTTP, once the response has started
    sent_bytes: int = 0  # of the body, before HTTP's framing
    ended: bool = False

    def fail(self, code: str, param: str | None = None) -> None:
        """Record why the request failed; the first reason counts."""
        if self.failure is None and not self.ended:
            self.failure, self.param = code, param

    @property
    def final_status(self) -> int:
        """The HTTP status, also of a request that was never answered."""
        if self.status is not None:
            return self.status
        return CLIENT_CLOSED_REQUEST if self.failure == CLIENT_GONE else 500

    @property
    def outcome(self) -> str:
        """`ok`, `client_gone`, or the code of an error; a response may fail after a status of 200."""
        if self.failure is not None:
            return self.failure
        if not self.ended:
            return "incomplete"
        return OK if self.final_status < 400 else "error"


# That of the background work in this context, for which no request waits.
unattended: ContextVar[Exchange | None] = ContextVar("unattended", default=None)


def attach(scope: Scope, exchange: Exchange) -> Scope:
    """A scope in which `exchange_of` finds the exchange."""
    return {**scope, _SCOPE_KEY: exchange}


def exchange_of(scope: Scope) -> Exchange:
    """The exchange of a request; outside the stack, one that nobody reads."""
    exchange: Any = scope.get(_SCOPE_KEY)
    return exchange if isinstance(exchange, Exchange) else Exchange("", 0.0)


def unattended_exchange() -> Exchange:
    """That of background work; outside of any, one that nobody reads."""
    return unattended.get() or Exchange("", 0.0)
