"""What an area states of one of its operations, right where it is implemented."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

F = TypeVar("F", bound=Callable[..., Any])

_ATTRIBUTE = "_described_operation"

# HTTP statuses of errors. Those of `everywhere` are added to each operation.
EVERYWHERE = (400, 401, 403, 429, 503)
WITH_BODY = (408, 413)
OF_ENGINES = (404, 409, 413, 422, 500, 502, 504)  # of whatever a host has to answer
CHANGES = (404, 409)  # of whatever changes the server


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What no signature shows. Types are Structs or whatever else msgspec can describe."""

    summary: str
    paths: tuple[str, ...] = ()  # in place of the route's template, where that stands for several paths
    body: Any = None  # the type of the JSON body
    form: type[msgspec.Struct] | None = None  # the fields of a multipart form; it also has a `file`
    answer: Any = None  # the type of a JSON answer
    status: int = 200  # of the answer
    events: Any = None  # the type of each server-sent event's data
    lines: Any = None  # the type of each line of JSON
    media: tuple[str, ...] = ()  # other types of content that an answer may have
    other: Mapping[int, Any] = {}  # types of JSON answers with other statuses
    query: Mapping[str, Any] = {}  # types of the query's parameters, none of which is required
    required_query: tuple[str, ...] = ()
    errors: tuple[int, ...] = ()  # statuses besides those of `EVERYWHERE`
    example: Any = None  # of the body or of the form's fields
    is_empty: bool = False  # a success has no body
    is_open: bool = False  # needs no key
    is_websocket: bool = False


def describes(summary: str, **details: Any) -> Callable[[F], F]:
    """State what a responder does; `details` are the fields of `Operation`."""
    operation = Operation(summary=summary, **details)

    def mark(responder: F) -> F:
        setattr(responder, _ATTRIBUTE, operation)
        return responder

    return mark


def operation_of(responder: Callable[..., Any]) -> Operation | None:
    """None where nothing was stated."""
    return getattr(responder, _ATTRIBUTE, None)
