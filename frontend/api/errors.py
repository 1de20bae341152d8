"""Errors as clients expect them: in responses, and inside streams that have begun."""

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping

import falcon
import falcon.asgi

from frontend.errors import (
    BadRequest,
    ClientGone,
    Forbidden,
    InternalError,
    MethodNotAllowed,
    NotFound,
    RequestTooLarge,
    ServerError,
)
from frontend.http.error_body import error_response, form_path
from frontend.http.exchange import CLIENT_CLOSED_REQUEST, CLIENT_GONE, exchange_of
from frontend.shortened import shown_path

_QUERY = re.compile(  # what Falcon says of a parameter of a query
    r'The "(.*?)" parameter (?:is invalid\. )?(?:The value (?:of the parameter )?)?(.+?)\.?', re.DOTALL
)

log = logging.getLogger("nacelle.api")


def presentable(error: Exception, where: str) -> ServerError:
    """An error as clients may see it; a defect goes to the log."""
    if isinstance(error, ServerError):
        return error
    if isinstance(error, RecursionError):
        return BadRequest("the request is nested too deeply")
    log.error("unexpected error in %s", where, exc_info=error)
    return InternalError("internal error; the server's log has the details")


@contextlib.contextmanager
def renaming_params(names: Mapping[str, str]) -> Iterator[None]:
    """What hosts refuse is told by the names that the endpoint gave its parameters."""
    try:
        yield
    except BadRequest as error:
        if error.param is not None and (name := names.get(error.param)):
            error.message = error.message.replace(error.param, name, 1)
            error.param = name
        raise


def install(app: falcon.asgi.App) -> None:  # type: ignore[type-arg]
    """Answer every exception of every responder with an error object."""
    app.add_error_handler(Exception, _on_defect)
    app.add_error_handler(falcon.HTTPError, _on_falcon_error)
    app.add_error_handler(ClientGone, _on_client_gone)
    app.add_error_handler(ServerError, _on_server_error)


def answer(request: falcon.asgi.Request, response: falcon.asgi.Response | None, error: ServerError) -> None:
    exchange = exchange_of(request.scope)
    exchange.fail(error.code, error.param)
    if response is None:  # of a WebSocket, whose handshake is refused
        raise falcon.HTTPError(error.status)
    path = form_path(request.scope, request.path)
    response.status, headers, response.data = error_response(path, error, exchange.request_id)
    response.set_headers(headers)


async def _on_server_error(
    request: falcon.asgi.Request, response: falcon.asgi.Response, error: ServerError, params: object
) -> None:
    answer(request, response, error)


async def _on_client_gone(
    request: falcon.asgi.Request, response: falcon.asgi.Response, error: ClientGone, params: object
) -> None:
    exchange = exchange_of(request.scope)
    if exchange.cancelled is not None:
        answer(request, response, exchange.cancelled)
        return
    exchange.fail(CLIENT_GONE)
    response.status = CLIENT_CLOSED_REQUEST  # for log and metrics: nobody reads it


async def _on_falcon_error(
    request: falcon.asgi.Request, response: falcon.asgi.Response, error: falcon.HTTPError, params: object
) -> None:
    answer(request, response, _translated(error, request))


async def _on_defect(
    request: falcon.asgi.Request, response: falcon.asgi.Response, error: Exception, params: object
) -> None:
    answer(request, response, presentable(error, f"{request.method} {request.path}"))


def _translated(error: falcon.HTTPError, request: falcon.asgi.Request) -> ServerError:
    match error.status_code:
        case 404:
            return NotFound(f"there is no {request.method} {shown_path(request.path)}")
        case 405:
            return MethodNotAllowed(f"{shown_path(request.path)} does not allow {request.method}")
        case 413:
            return RequestTooLarge("the request body is too large")
        case 403:
            return Forbidden(error.description or error.title or "forbidden")
        case status if 400 <= status < 500 and (found := _QUERY.fullmatch(error.description or "")):
            return BadRequest(f"{found[1]}: {found[2]}", found[1])
        case status if 400 <= status < 500:
            return BadRequest(error.description or error.title or "bad request")
    return InternalError("internal error")
