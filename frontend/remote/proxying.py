"""The layer that passes requests on to servers that are used through their OpenAI API.

A request that names such a model goes there as it came, but for the model's name; the answer comes back as it
is. A server that cannot be reached or fails before its answer has begun is passed over: the next one gets the
request, or the replicas on this machine. An answer that breaks off ends as one of ours does, with an error
event and without `[DONE]`. Its tokens count like those of answers made here.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from frontend.api.json_depth import is_deep
from frontend.api.json_size import JsonLimits, JsonSize
from frontend.engine_endpoints import ENDPOINTS
from frontend.errors import (
    BackendFailed,
    ModelNotFound,
    ModelUnavailable,
    QueueFull,
    RequestTimeout,
    RequestTooLarge,
    ServerError,
)
from frontend.http.asgi import Application, Message, Receive, Scope, Send, header
from frontend.http.client import client_of
from frontend.http.error_body import error_event, error_response, is_anthropic
from frontend.http.exchange import Exchange, TokenCounts, exchange_of
from frontend.http.keep_alive import PING
from frontend.limits.forwarded import Forwarded, ReadAnswer
from frontend.remote.host import RemoteHost
from frontend.routing.route import Route
from frontend.routing.router import Router
from frontend.shortened import shortened
from frontend.supervision.lifecycle import State

PATHS = frozenset(
    ("/v1/messages/count_tokens", *(path for path, endpoint in ENDPOINTS.items() if endpoint.passed_on))
)
_EVENTS = "text/event-stream"
_MAX_EVENT_BYTES = 1024**2  # held back, while the event is incomplete
_MAX_ERROR_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 500  # of a server's error
_PASSED_HEADERS = ("content-type", "retry-after", "cache-control")
_SENT_HEADERS = ("accept", "anthropic-version", "anthropic-beta")
_UNAVAILABLE = (503, 529)  # the latter is Anthropic's
_FAULTS_OF_OURS = (401, 403, 404, 405)  # the key, the URL or the model's name is wrong
_BREAK = b"\n\n"
# Those that hold for every endpoint: prompts may be lists of tokens.
_JSON_LIMITS = JsonLimits(separators=None, escapes=None)

log = logging.getLogger("nacelle.remote")


class _Peek(msgspec.Struct):
    model: str
    stream: bool | None = None


class _ErrorObject(msgspec.Struct):
    message: str = ""


class _Error(msgspec.Struct):
    error: _ErrorObject | str | None = None
    message: str = ""


_peek = msgspec.json.Decoder(_Peek)
_fields: "msgspec.json.Decoder[dict[str, msgspec.Raw]]" = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Proxying:
    def __init__(self, app: Application, router: Router, max_body_bytes: int, max_requests: int) -> None:
        """`max_requests`: to one model at a time."""
        self._app = app
        self._router = router
        self._max_body_bytes = max_body_bytes
        self._max_requests = max_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in PATHS or not self._any_proxied():
            await self._app(scope, receive, send)
            return
        exchange = exchange_of(scope)
        try:
            body = await _read(scope, receive, self._max_body_bytes)
        except ServerError as error:
            await _fail(send, scope["path"], exchange, error)
            return
        request = _peeked(body)
        route = self._route(request.model) if request is not None else None
        hosts = hosts_to_try(route) if route is not None else []
        if request is None or route is None or not hosts:
            await self._app(scope, _Replay(body, receive), send)
            return
        exchange.model, exchange.stream = request.model, bool(request.stream)
        exchange.route = scope["path"]
        forwarding = asyncio.ensure_future(self._forward(scope, send, route, body, hosts))
        client_of(scope).on_leave(lambda: _cancel(forwarding))
        try:
            await asyncio.wait([forwarding])
        finally:
            forwarding.cancel()
        if exchange.cancelled is not None and exchange.status is None:
            await _fail(send, scope["path"], exchange, exchange.cancelled)
        if not forwarding.cancelled() and not forwarding.result():
            await self._app(scope, _Replay(body, receive), send)

    def _any_proxied(self) -> bool:
        return any(
            isinstance(host, RemoteHost) and not host.takes_jobs
            for route in self._router.routes.values()
            for host in route.hosts
        )

    def _route(self, model: str) -> Route | None:
        try:
            return self._router.route(model)
        except ModelNotFound:  # the API reports it
            return None

    async def _forward(
        self, scope: Scope, send: Send, route: Route, body: bytes, hosts: Sequence[RemoteHost]
    ) -> bool:
        """Whether it was answered; else the replicas on this machine may."""
        exchange, model = exchange_of(scope), route.name
        seconds = self._router.options.request_timeout_seconds
        answer = _Answer(send, scope["path"], exchange, model, seconds)
        left = True
        try:
            self._router.check_open()
            busy = sum(host.http.outstanding for host in hosts if host.http)
            if busy >= self._max_requests:
                raise QueueFull(f"{model} has {busy} requests running", retry_after=1)
            answer.work = Forwarded(self._router.quotas, exchange.caller, scope["path"], body)
            error: ServerError | None = None
            for host in hosts:
                error = await answer.of(host, scope, body)
                if error is None:
                    left = False
                    return True
                log.warning("%s: %s", model, error)
            if has_others(route):
                left = False
                return False
            raise error or ModelUnavailable(f"{model} is not available", retry_after=1)
        except ServerError as error:
            left = False
            await answer.fail(error)
            return True
        finally:
            if answer.work is not None:
                answer.work.end(left=left)


class _Answer:
    """One response, from whichever server gives it."""

    def __init__(self, send: Send, path: str, exchange: Exchange, model: str, seconds: float) -> None:
        """`seconds`: that a server may take for all of it."""
        self._send = send
        self._path = path
        self._exchange = exchange
        self._model = model
        self._seconds = seconds
        self._begun = self._is_stream = False
        self.work: Forwarded | None = None  # its tokens

    async def of(self, host: RemoteHost, scope: Scope, body: bytes) -> ServerError | None:
        """None if the server answered, whatever it said. Else why not, before anything was sent.

        Raises ServerError for what another server would not do better.
        """
        import aiohttp  # loaded already, with the server's session

        from frontend.remote.client import words_of

        assert host.http is not None
        path = self._path.removeprefix("/v1")
        given = {name: value for name in _SENT_HEADERS if (value := header(scope, name.encode()))}
        trace = exchange_of(scope).trace
        if trace is not None:
            given["traceparent"] = trace.parent
        renamed = _renamed(body, host.backend.model)
        try:
            async with host.http.post(path, renamed, given, self._seconds) as response:
                if (error := await self._error_of(host, response)) is not None:
                    return error
                host.completed()
                await self._pass_on(response)
                return None
        except TimeoutError:
            error = RequestTimeout(
                f"{host.device} took longer than {self._seconds:g} seconds for the request"
            )
            raise error from None
        except (aiohttp.ClientError, OSError) as lost:
            host.http.doubt()
            what = f"{self._model} at {host.device}: {words_of(lost)}"
            if self._begun:
                raise BackendFailed(f"{what}; the answer is incomplete") from None
            return ModelUnavailable(what, retry_after=1)

    async def _error_of(self, host: RemoteHost, response: Any) -> ServerError | None:
        """Raises ServerError for what is wrong between this server and that one."""
        status = response.status
        if 200 <= status < 300 or status in (400, 408, 409, 413, 415, 422):
            return None
        words = _words(await _first_bytes(response, _MAX_ERROR_BYTES))
        said = f"{host.device} answers with status {status}{words}"
        if status == 429:
            return QueueFull(said, retry_after=_seconds(response.headers.get("Retry-After")))
        if status in _UNAVAILABLE:
            return ModelUnavailable(said, retry_after=_seconds(response.headers.get("Retry-After")))
        if status in _FAULTS_OF_OURS:
            return BackendFailed(
                f"{said}; check remote, remote_model and remote_api_key_env of {self._model}"
            )
        return BackendFailed(said)

    async def _pass_on(self, response: Any) -> None:
        headers = [
            (name.encode(), response.headers[name].encode("latin-1"))
            for name in _PASSED_HEADERS
            if name in response.headers
        ]
        self._is_stream = response.content_type == _EVENTS
        if is_anthropic(self._path):
            self._exchange.heartbeat = lambda: PING  # its clients count events, not comments
        read = ReadAnswer(self._is_stream)
        if response.status >= 400:
            self._exchange.fail("rejected_by_backend")
        elif self.work is not None:
            self.work.answer = read
        self._begun = True
        await self._send({"type": "http.response.start", "status": response.status, "headers": headers})
        parts = response.content.iter_any()
        async for part in _whole_events(parts) if self._is_stream else parts:
            read.take(part)
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
        read.end()
        if (usage := read.usage) is not None:
            counts = TokenCounts(usage.input_tokens, usage.output_tokens, usage.cached_tokens)
            self._exchange.tokens = lambda: counts
        await self._send({"type": "http.response.body", "body": b""})

    async def fail(self, error: ServerError) -> None:
        if not self._begun:
            await _fail(self._send, self._path, self._exchange, error)
            return
        self._exchange.fail(error.code, error.param)
        if not self._is_stream:  # without its end, the client notices
            raise error
        event = error_event(self._path, error, self._exchange.request_id)
        await self._send({"type": "http.response.body", "body": event})


class _Replay:
    """A body that was read, as `receive` gives it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _cancel(forwarding: "asyncio.Future[bool]") -> None:
    forwarding.cancel()


def hosts_to_try(route: Route) -> list[RemoteHost]:
    """The least busy first; none if no server of the model is asked over HTTP, or replicas that take jobs
    have room, which are preferred."""
    proxied = [h for h in route.hosts if isinstance(h, RemoteHost) and not h.takes_jobs and h.http]
    healthy = [host for host in proxied if host.life.state is State.READY]
    if has_room(route):
        return []
    if not healthy:
        return [] if has_others(route) else proxied  # which says why they are not
    return sorted(healthy, key=lambda host: host.http.outstanding if host.http else 0)


def has_room(route: Route) -> bool:
    """Whether a replica that takes jobs would begin at once."""
    replicas = getattr(route, "replicas", [])
    return any(replica.host.takes_jobs and replica.free_slots > 0 for replica in replicas)


def has_others(route: Route) -> bool:
    """Whether there are replicas that take jobs, or will."""
    hopeless = (State.FAILED, State.STOPPED)
    is_loaded_on_demand = getattr(route, "loader", None) is not None
    return any(h.takes_jobs and (is_loaded_on_demand or h.life.state not in hopeless) for h in route.hosts)


async def _read(scope: Scope, receive: Receive, limit: int) -> bytes:
    """A body that is safe to decode, unless it is deep. Raises RequestTooLarge. Of a client that leaves, what
    has arrived."""
    parts: list[bytes] = []
    size, more = 0, True
    json = JsonSize()
    if int(header(scope, b"content-length") or 0) > limit:
        raise RequestTooLarge(f"the request body exceeds {limit} bytes")
    while more:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise RequestTooLarge(f"the request body exceeds {limit} bytes")
        parts.append(part)
        await json.add_in_turns(part, _JSON_LIMITS)
        more = message["type"] == "http.request" and message.get("more_body", False)
    return b"".join(parts)


def _peeked(body: bytes) -> _Peek | None:
    """None for what the API is to complain about."""
    if is_deep(body):
        return None
    try:
        return _peek.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _renamed(body: bytes, model: str) -> bytes:
    """The same JSON object with another `model`; all else byte for byte."""
    fields = _fields.decode(body)
    fields["model"] = msgspec.Raw(msgspec.json.encode(model))
    return msgspec.json.encode(fields)


async def _whole_events(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes, cut after whole events, so that others may be put between them."""
    held = b""
    async for part in parts:
        held += part
        end = max(held.rfind(_BREAK) + 2, held.rfind(b"\r\n\r\n") + 4 if b"\r" in held else 1)
        if end > 1:
            yield held[:end]
            held = held[end:]
        elif len(held) > _MAX_EVENT_BYTES:
            raise BackendFailed(f"an event of more than {_MAX_EVENT_BYTES} bytes")
    if held:
        yield held


async def _first_bytes(response: Any, limit: int) -> bytes:
    data = b""
    async for part in response.content.iter_any():
        data += part
        if len(data) >= limit:
            break
    return data[:limit]


def _words(body: bytes) -> str:
    """What a server's error says, after a colon; nothing if it says nothing that can be read."""
    try:
        found = msgspec.json.decode(body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    words = found.error.message if isinstance(found.error, _ErrorObject) else found.error or found.message
    return f": {shortened(words, _SHOWN_CHARACTERS)}" if words else ""


def _seconds(retry_after: str | None) -> int:
    return min(int(retry_after), 600) if retry_after is not None and retry_after.isdigit() else 1


async def _fail(send: Send, path: str, exchange: Exchange, error: ServerError) -> None:
    exchange.fail(error.code, error.param)
    answer = error_response(path, error, exchange.request_id)
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body})
