"""What the server needs of traces, without their libraries."""

import re
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

Value = str | bool | int | float | Sequence[str]

_PARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class Moment(msgspec.Struct, frozen=True):
    """Something that happened to a request, at a time in seconds on the monotonic clock."""

    name: str
    at: float
    attributes: Mapping[str, Value] = {}


class Described(msgspec.Struct, frozen=True):
    """What a span says of a request."""

    name: str
    attributes: Mapping[str, Value]
    moments: Sequence[Moment] = ()
    failed: str | None = None  # the code of the error, where it is the server's


class Trace(Protocol):
    """One request's span, from its begin on."""

    trace_id: str  # 32 hexadecimal digits
    parent: str  # the value of `traceparent` for requests that this one causes
    keeps_text: bool  # prompts and answers are asked for

    def end(self, described: Described, seconds: float) -> None:
        """The request has taken so long."""


class Tracing(Protocol):
    def begin(self, name: str, carrier: Mapping[str, str], began: float) -> Trace:
        """`carrier`: the client's headers of W3C Trace Context. `began`: seconds on the monotonic clock."""

    def close(self) -> None:
        """Send what is left, for a short while at most."""


def trace_id_in(traceparent: str | None) -> str | None:
    """The trace that a client's request belongs to; None if it names none, or not as the standard says."""
    found = _PARENT.fullmatch(traceparent or "")
    return found[1] if found and not found[0].startswith("ff") else None
