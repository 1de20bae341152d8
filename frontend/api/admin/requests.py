"""GET /admin/requests: what is being answered; DELETE /admin/requests/{id} and POST …/cancel end one.

Nothing of what clients wrote is shown, except the ids that they chose. Whoever may use some models alone sees
requests for these and their own.
"""

from collections.abc import Iterator

import falcon.asgi
import msgspec

from frontend.access.sight import sight
from frontend.api.area import App, Server
from frontend.api.generating import respond_json
from frontend.api.openapi.operation import CHANGES, describes
from frontend.api.served import PREPARING
from frontend.errors import BadRequest, Conflict, MethodNotAllowed, NotFound, RequestCancelled
from frontend.http.exchange import Exchange, exchange_of
from frontend.http.in_flight import Entry, InFlight
from frontend.shortened import shortened

_CANCEL = "/cancel"
_SHOWN_CHARACTERS = 80
_UNSHOWN = ("/admin/", "/health", "/ready", "/metrics", "/v1/status")  # unless all are asked for


class RequestStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One request."""

    id: str
    key_id: str | None  # of the API key, if one was needed
    model: str | None  # that answers, or as the client named it
    route: str
    began: float  # in Unix seconds
    seconds: float  # ago
    phase: str  # preparing, queued, suspect, sent, running or finishing
    prompt_tokens: int | None
    completion_tokens: int | None
    stream: bool
    cancelled: bool = False


class RequestList(msgspec.Struct):
    requests: list[RequestStatus]


class Cancelled(msgspec.Struct):
    id: str
    cancelled: int  # requests with this id


class RequestResources:
    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight = in_flight

    @describes("Requests in flight", answer=RequestList, query={"all": bool})
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Those of clients; with `?all=true` also those that look at the server, such as this one."""
        everything = request.get_param_as_bool("all", default=False)
        shown = [
            status_of(entry, self._in_flight.now())
            for entry in self._visible()
            if everything or not entry.exchange.route.startswith(_UNSHOWN)
        ]
        respond_json(response, RequestList(shown))

    @describes("One request in flight", answer=RequestStatus, errors=(404,))
    async def on_get_one(self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str) -> None:
        found = [entry for entry in self._visible() if entry.exchange.request_id == id]
        if not found:
            raise _unknown(id)
        respond_json(response, status_of(found[0], self._in_flight.now()))

    @describes("Cancel a request", answer=Cancelled, errors=CHANGES)
    async def on_delete_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str
    ) -> None:
        self._cancel(id, request, response)

    @describes(
        "Cancel a request",
        paths=(f"/admin/requests/{{id:path}}{_CANCEL}",),
        answer=Cancelled,
        errors=(*CHANGES, 405),
    )
    async def on_post_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, id: str
    ) -> None:
        if not id.endswith(_CANCEL):
            raise MethodNotAllowed(f"POST /admin/requests/ID{_CANCEL}, or DELETE /admin/requests/ID")
        self._cancel(id.removesuffix(_CANCEL), request, response)

    def _cancel(self, id: str, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        if id == exchange_of(request.scope).request_id:
            raise BadRequest("a request cannot cancel itself; send another X-Request-ID", "id")
        error = RequestCancelled("the request was cancelled by an administrator of the server")
        ended = self._in_flight.cancel(id, error, _is_visible)
        if not ended and any(entry.exchange.request_id == id for entry in self._visible()):
            raise Conflict(f"the request {_shown(id)} is ending already", "id")
        if not ended:
            raise _unknown(id)
        respond_json(response, Cancelled(id, len(ended)))

    def _visible(self) -> Iterator[Entry]:
        return (entry for entry in self._in_flight if _is_visible(entry.exchange))


def _is_visible(exchange: Exchange) -> bool:
    """To whoever asks."""
    seen = sight()
    if seen.is_whole or exchange.caller.key_id == seen.caller.key_id:
        return True
    model = exchange.answered_by or exchange.model
    return model is not None and seen.has(model)


def status_of(entry: Entry, now: float) -> RequestStatus:
    exchange = entry.exchange
    tokens = exchange.tokens() if exchange.tokens is not None else None
    model = exchange.answered_by or exchange.model
    return RequestStatus(
        id=exchange.request_id,
        key_id=exchange.caller.key_id,
        model=None if model is None else shortened(model, _SHOWN_CHARACTERS),
        route=exchange.route,
        began=entry.began_at,
        seconds=round(max(0.0, now - entry.began_at), 3),
        phase=_phase(exchange),
        prompt_tokens=tokens.prompt if tokens is not None else None,
        completion_tokens=tokens.completion if tokens is not None else None,
        stream=exchange.stream,
        cancelled=exchange.cancelled is not None,
    )


def _phase(exchange: Exchange) -> str:
    return PREPARING if exchange.phase is None else exchange.phase()


def _unknown(id: str) -> NotFound:
    return NotFound(f"no request with the id {_shown(id)} is in flight", "id")


def _shown(id: str) -> str:
    return repr(shortened(id, _SHOWN_CHARACTERS))


def install(app: App, server: Server) -> None:
    resources = RequestResources(server.control.in_flight)
    app.add_route("/admin/requests", resources)
    app.add_route("/admin/requests/{id:path}", resources, suffix="one")
