"""The layer that applies limits on requests, and shows in each answer what is left of them.

Only what asks an engine for something is limited: no probe, metric, list or page, and no administration.
"""

from datetime import UTC, datetime, timedelta

from frontend.caller import Caller
from frontend.engine_endpoints import ENDPOINTS
from frontend.errors import RateLimited
from frontend.http.asgi import (
    Application,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    is_response_start,
    with_headers,
)
from frontend.http.error_body import is_anthropic
from frontend.http.exchange import exchange_of
from frontend.http.gate import refuse
from frontend.limits.quotas import Level, Quotas

_MAX_RESET_SECONDS = 365 * 86_400.0  # in dates, which have an end


class Limiter:
    def __init__(self, app: Application, quotas: Quotas) -> None:
        self._app = app
        self._quotas = quotas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_limited(scope):
            await self._app(scope, receive, send)
            return
        exchange = exchange_of(scope)
        path: str = scope["path"]

        async def send_with_levels(message: Message) -> None:
            if is_response_start(message):
                message = with_headers(message, level_headers(self._quotas, exchange.caller, path))
            await send(message)

        try:
            end = self._quotas.begin(exchange.caller)
        except RateLimited as error:
            exchange.route = path  # which is a template: nothing in it varies
            exchange.fail(error.code)
            await refuse(scope, receive, send_with_levels, error)
            return
        try:
            await self._app(scope, receive, send_with_levels)
        finally:
            end()


def _is_limited(scope: Scope) -> bool:
    if scope["type"] == "websocket":
        return scope["path"] in ENDPOINTS
    return scope["type"] == "http" and scope["method"] == "POST" and scope["path"] in ENDPOINTS


def level_headers(quotas: Quotas, caller: Caller, path: str) -> Headers:
    """By the names of the API that the path belongs to."""
    levels = quotas.levels(caller)
    pairs = _anthropic(levels, datetime.now(UTC)) if is_anthropic(path) else _openai(levels)
    return [(name.encode(), value.encode()) for name, value in pairs]


def _openai(levels: list[Level]) -> list[tuple[str, str]]:
    headers = []
    for level in levels:
        headers += [
            (f"x-ratelimit-limit-{level.kind}", str(level.limit)),
            (f"x-ratelimit-remaining-{level.kind}", str(level.remaining)),
            (f"x-ratelimit-reset-{level.kind}", duration(level.reset_seconds)),
        ]
    return headers


def _anthropic(levels: list[Level], now: datetime) -> list[tuple[str, str]]:
    headers = []
    for level in levels:
        wait = timedelta(seconds=min(level.reset_seconds, _MAX_RESET_SECONDS))
        reset = (now + wait).strftime("%Y-%m-%dT%H:%M:%SZ")
        headers += [
            (f"anthropic-ratelimit-{level.kind}-limit", str(level.limit)),
            (f"anthropic-ratelimit-{level.kind}-remaining", str(level.remaining)),
            (f"anthropic-ratelimit-{level.kind}-reset", reset),
        ]
    return headers


def duration(seconds: float) -> str:
    """As OpenAI writes it: `0s`, `6ms`, `1.5s`, `6m0s`, `1h0m0s`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest / 1000:g}s"
    if minutes or hours:
        shown = f"{minutes}m{shown}"
    return f"{hours}h{shown}" if hours else shown
