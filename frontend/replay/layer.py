"""The layer that answers from what is kept, or lets several requests read one answer while it is made.

An answer is made in a task of its own, so that it does not end with the request that asked first. It goes on
for as long as somebody reads it; where a client gave an Idempotency-Key, also for a while after that, so that
the same client can come back.
"""

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

import msgspec

from frontend.caller import Caller
from frontend.errors import ClientGone, Conflict, KeyReused, ServerError
from frontend.http.asgi import (
    WRITER,
    Application,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    header,
    with_headers,
)
from frontend.http.exchange import CLIENT_GONE, Exchange, attach, exchange_of
from frontend.http.gate import refuse
from frontend.http.in_flight import InFlight
from frontend.observability.metrics import Metrics
from frontend.replay.asked import (
    CACHED_PATHS,
    RETRIED_PATHS,
    cache_key,
    cacheable,
    directives,
    idempotency_key,
    last_event_id,
)
from frontend.replay.following import send_recorded
from frontend.replay.receiving import declared, is_quickly_decoded, left, read_body, replayed, until
from frontend.replay.recording import Recording
from frontend.replay.shelf import Shelf
from frontend.replay.unread import Unread

MAX_ENTRIES = 4096
MAX_RETRY_BYTES = 64 * 1024**2
KEPT_SECONDS = 300.0  # for retries
CACHE = b"x-nacelle-cache"
_RESULTS = ("hit", "miss", "coalesced", "bypass")

ModelMark = Callable[[str], Any]


class ReplayOptions(msgspec.Struct, frozen=True):
    cache_bytes: int = 0  # 0: no cache
    cache_seconds: float = 300.0
    grace_seconds: float = 30.0
    max_body_bytes: int = 16 * 1024**2


class Replay:
    def __init__(
        self,
        app: Application,
        options: ReplayOptions,
        model_mark: ModelMark,
        metrics: Metrics,
        clock: Callable[[], float],
        max_concurrent: Callable[[Caller], int | None] = lambda _: None,
        in_flight: InFlight | None = None,
    ) -> None:
        """`model_mark`: an object that is another one after the model of this name was loaded again or got
        other settings; None where the name may mean several models, or none that is known yet.
        The others are as in `Unread`."""
        self._unread = Unread(in_flight or InFlight(), clock, max_concurrent)
        self._app = app
        self._options = options
        self._model_mark = model_mark
        self._cache_requests = {result: metrics.cache_requests.labels(result) for result in _RESULTS}
        self._cache_bytes = metrics.cache_bytes
        self._cache = Shelf(options.cache_bytes, MAX_ENTRIES, options.cache_seconds, clock)
        self._retries = Shelf(MAX_RETRY_BYTES, MAX_ENTRIES, KEPT_SECONDS, clock)
        self._making: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        may_retry = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in RETRIED_PATHS
        is_keyed = may_retry and header(scope, b"idempotency-key") is not None
        may_cache = may_retry and self._options.cache_bytes > 0 and scope["path"] in CACHED_PATHS
        if not (is_keyed or may_cache):
            await self._app(scope, receive, send)
            return
        try:
            body = None
            if declared(scope) <= self._options.max_body_bytes:
                body, receive = await read_body(receive, self._options.max_body_bytes)
            if body is None:  # too large to be kept, or its client has left
                await self._app(scope, receive, send)
            elif is_keyed:
                await self._retried(scope, receive, send, body)
            else:
                await self._cached(scope, receive, send, body)
        except ServerError as error:
            exchange_of(scope).fail(error.code, error.param)
            await refuse(scope, receive, send, error)

    async def _retried(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        caller = exchange_of(scope).caller
        # With the models: a key that lost one of them must not get that model's answers.
        key = (caller.key_id, caller.models, scope["path"], idempotency_key(scope))
        fingerprint = hashlib.sha256(body).digest()
        after = last_event_id(scope)
        found = self._retries.find(key)
        if found is not None and found.recording.abandoned.is_set():
            found = None
        if found is not None and found.mark != fingerprint:
            raise KeyReused(
                "Idempotency-Key: this key was sent with another body; use a new key for a new request",
                "Idempotency-Key",
            )
        if found is None and after:
            raise Conflict(
                "Last-Event-ID: the answer is no longer kept; send the request without it", "Last-Event-ID"
            )
        if found is None:
            recording = self._make(scope, body, self._retries, key, fingerprint, numbers_events=True)
            await self._follow(recording, scope, receive, send, [], after, self._options.grace_seconds)
        else:
            headers = [(b"idempotency-replayed", b"true")]
            await self._follow(
                found.recording, scope, receive, send, headers, after, self._options.grace_seconds
            )

    async def _cached(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        fields = cacheable(scope["path"], body) if await is_quickly_decoded(body) else None
        asked = directives(scope)
        mark = None if fields is None else self._model_mark(fields["model"])
        if fields is None or mark is None or "no-store" in asked:
            await self._pass(scope, replayed(body, receive), send)
            return
        caller = exchange_of(scope).caller
        key = cache_key(scope, fields, [caller.key_id, caller.models])
        found = None if "no-cache" in asked else self._cache.find(key)
        if found is not None and found.mark == mark and not found.recording.abandoned.is_set():
            result = "hit" if found.ended_at is not None else "coalesced"
            recording = found.recording
        else:
            result = "bypass" if "no-cache" in asked else "miss"
            recording = self._make(scope, body, self._cache, key, mark)
        self._count(result)
        await self._follow(recording, scope, receive, send, [(CACHE, result.encode())])

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As without this layer, but for the header."""
        self._count("bypass")

        async def sending(message: Message) -> None:
            is_start = message["type"] == "http.response.start"
            await send(with_headers(message, [(CACHE, b"bypass")]) if is_start else message)

        await self._app(scope, receive, sending)

    def _count(self, result: str) -> None:
        self._cache_requests[result].inc()
        self._cache_bytes.set(self._cache.size)

    def _make(
        self, scope: Scope, body: bytes, shelf: Shelf, key: Any, mark: Any, numbers_events: bool = False
    ) -> Recording:
        """Begin to make an answer, which others may join from now on."""
        asking = exchange_of(scope)
        exchange = Exchange(asking.request_id, asking.began, asking.caller, trace=asking.trace)
        recording = Recording(exchange, numbers_events)
        shelf.put(key, recording, mark)
        extensions = {**(scope.get("extensions") or {}), WRITER: recording}
        inner = attach({**scope, "extensions": extensions}, exchange)

        async def make() -> None:
            error: Exception | None = None
            try:
                await self._app(inner, replayed(body, until(recording.abandoned)), recording.send)
            except Exception as raised:
                error = raised
            finally:
                if not asking.ended:
                    asking.course = exchange.course
                recording.end(error)
                shelf.end(key, recording)
                self._unread.remove(recording)

        task = asyncio.ensure_future(make())
        self._making.add(task)
        task.add_done_callback(self._making.discard)
        return recording

    async def _follow(
        self,
        recording: Recording,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Headers,
        after: int = 0,
        grace_seconds: float = 0.0,
    ) -> None:
        """Send a recording to a client until its end, or until the client leaves."""
        recording.readers += 1
        self._unread.remove(recording)  # the time that it has without readers begins anew with each leave
        own = exchange_of(scope)

        def end(error: ServerError) -> None:
            """An operator's cancellation of this request is one of the answer."""
            own.cancelled = recording.exchange.cancelled = error
            if recording.exchange.end is not None:
                recording.exchange.end(error)

        own.end = end
        sending = asyncio.ensure_future(send_recorded(recording, scope, send, headers, after))
        leaving = asyncio.ensure_future(left(receive))
        try:
            await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                own.fail(CLIENT_GONE)
                return
            sending.result()
        except ClientGone:
            own.fail(CLIENT_GONE)
        finally:
            sending.cancel()
            leaving.cancel()
            own.end = None
            recording.readers -= 1
            if not recording.readers and not recording.ended:
                self._unread.add(recording, grace_seconds)
