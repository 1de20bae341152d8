"""The layer that applies the access rules, and answers browsers as CORS requires."""

import msgspec

from frontend.access.credentials import authorization_of
from frontend.access.rules import AccessRules, Asked, Verdict, access_rules, forwarding_header, judge
from frontend.access.scopes import is_administration
from frontend.access.sight import asking
from frontend.access.tokens import UnknownSigner
from frontend.caller import Caller
from frontend.config import Settings
from frontend.errors import ServerError
from frontend.http.asgi import (
    Application,
    Headers,
    Message,
    Receive,
    Scope,
    Send,
    header,
    is_response_start,
    with_headers,
)
from frontend.http.error_body import error_response, form_path
from frontend.http.exchange import exchange_of
from frontend.http.inside import CALLER

# A list: browsers take `*` for all headers only where no credentials are sent.
_EXPOSED = ", ".join(
    (
        *(
            "X-Request-ID",
            "Request-ID",
            "Retry-After",
            "Retry-After-Ms",
            "X-Should-Retry",
            "WWW-Authenticate",
        ),
        *("X-Nacelle-Model", "X-Nacelle-Cache", "X-Nacelle-Variants", "X-Session-ID"),
        *("Idempotency-Replayed", "Content-Disposition"),
        *(
            name
            for what in ("Limit", "Remaining", "Reset")
            for unit in ("Requests", "Tokens")
            for name in (f"X-RateLimit-{what}-{unit}", f"Anthropic-RateLimit-{unit}-{what}")
        ),
    )
).encode()
_PREFLIGHT_SECONDS = b"600"  # for which a browser need not ask again


class Access:
    """The rules that hold now; all layers of a server share them."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError."""
        self.rules = access_rules(settings)

    def follow(self, settings: Settings) -> None:
        """Apply these settings from now on. Raises ConfigError."""
        rules = access_rules(settings, self.rules.authentication)
        self.rules = msgspec.structs.replace(rules, is_local=self.rules.is_local)

    def renewed(self, caller: Caller) -> Caller | None:
        """Who made a request before, with their present rights; None if they would not be let in any more."""
        authentication = self.rules.authentication
        return caller if authentication is None else authentication.renewed(caller)


class Gate:
    """Lets through what `judge` allows, HTTP requests and handshakes of WebSockets alike."""

    def __init__(self, app: Application, settings: Settings, access: Access | None = None) -> None:
        """`access` is given where its rules may change. Raises ConfigError."""
        self._app = app
        self._access = access or Access(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        if (caller := scope.get(CALLER)) is not None:
            await self._admit(scope, receive, send, caller)
            return
        verdict = await _judged(self._access.rules, _asked(scope))
        headers = cors_headers(verdict.shared_with)

        async def send_shared(message: Message) -> None:
            await send(with_headers(message, headers) if is_response_start(message) else message)

        if verdict.error is not None:
            exchange = exchange_of(scope)
            exchange.fail(verdict.error.code)
            exchange.hint = verdict.hint
            exchange.caller = verdict.caller
            await refuse(scope, receive, send_shared if headers else send, verdict.error)
        elif verdict.is_preflight:
            allowed = preflight_headers(header(scope, b"access-control-request-headers"))
            await send_shared({"type": "http.response.start", "status": 204, "headers": allowed})
            await send_shared({"type": "http.response.body", "body": b""})
        else:
            await self._admit(scope, receive, send_shared if headers else send, verdict.caller)

    async def _admit(self, scope: Scope, receive: Receive, send: Send, caller: Caller) -> None:
        exchange_of(scope).caller = caller
        with asking(caller):
            await self._app(scope, receive, send)


async def _judged(rules: AccessRules, asked: Asked) -> Verdict:
    """A key with which tokens are signed may be new."""
    verdict = judge(rules, asked)
    refreshable = isinstance(verdict.error, UnknownSigner) and rules.authentication is not None
    if refreshable and await rules.authentication.refresh():  # type: ignore[union-attr]
        return judge(rules, asked)
    return verdict


def _asked(scope: Scope) -> Asked:
    forwarded_by = None
    if is_administration(scope["path"]):  # nothing else asks for it
        forwarded_by = forwarding_header(name.decode("latin-1") for name, _ in scope["headers"])
    return Asked(
        scope.get("method", "GET"),
        scope["path"],
        header(scope, b"host"),
        header(scope, b"origin"),
        authorization_of(header(scope, b"authorization"), scope.get("subprotocols", ())),
        forwarded_by,
        header(scope, b"sec-fetch-site"),
        header(scope, b"x-api-key"),
    )


def cors_headers(origin: str | None) -> Headers:
    """Headers that let pages of `origin` read a response."""
    if origin is None:
        return []
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    ]


def preflight_headers(wanted: str | None) -> Headers:
    """Which methods and headers a page may use: all that it wants, since its origin has been checked."""
    return [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        # OpenAI's client sends a dozen headers of its own.
        (b"access-control-allow-headers", (wanted or "Authorization, Content-Type").encode("latin-1")),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    ]


async def refuse(scope: Scope, receive: Receive, send: Send, error: ServerError) -> None:
    """Answer with an error object; where the server cannot, decline the WebSocket with a plain 403."""
    kind = scope["type"]
    if kind == "websocket":
        await receive()  # the connect event, without which no answer is allowed
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close"})
            return
        kind = "websocket.http"
    answer = error_response(form_path(scope, scope["path"]), error, exchange_of(scope).request_id)
    await send({"type": f"{kind}.response.start", "status": answer.status, "headers": answer.raw_headers})
    await send({"type": f"{kind}.response.body", "body": answer.body})
