"""Who may make requests: API key, Host and Origin headers. Pure; `gate.py` applies the decisions."""

import hmac
import ipaddress
import socket
from collections.abc import Collection

import msgspec

from frontend.errors import Forbidden, ServerError, Unauthorized

OPEN_PATHS = ("/health", "/ready")  # for probes, which carry no key


class Rules(msgspec.Struct, frozen=True):
    """What the server's settings say about access."""

    api_key: str | None
    hosts: frozenset[str]  # allowed names besides this machine's own, lower case
    origins: frozenset[str]  # allowed origins besides this machine's own; "*" allows all


class Asked(msgspec.Struct, frozen=True):
    """What the decision depends on. Headers are None where the request has none."""

    method: str  # GET for the handshake of a WebSocket, as in HTTP
    path: str
    host: str | None
    origin: str | None
    authorization: str | None


class Verdict(msgspec.Struct, frozen=True):
    error: ServerError | None = None  # the answer, where the request is refused
    shared_with: str | None = None  # the origin whose pages may read the answer
    is_preflight: bool = False  # the answer is which requests the origin may make


def judge(rules: Rules, asked: Asked) -> Verdict:
    """Whether a request passes. An error may be readable by pages of an allowed origin, too."""
    try:
        if rules.api_key is None:  # a rebound page cannot know the key
            check_host(asked.host, rules.hosts)
        if asked.origin is not None and not origin_allowed(asked.origin, asked.host, rules.origins):
            raise Forbidden(f"pages of {asked.origin} may not call this server; see --allowed-origin")
    except Forbidden as error:
        return Verdict(error)
    if asked.origin is not None and asked.method == "OPTIONS":  # sent without the key
        return Verdict(shared_with=asked.origin, is_preflight=True)
    try:
        if rules.api_key is not None:
            check_key(asked.authorization, rules.api_key, asked.path)
    except Unauthorized as error:
        return Verdict(error, asked.origin)
    return Verdict(shared_with=asked.origin)


def check_key(authorization: str | None, api_key: str, path: str) -> None:
    """Raises Unauthorized unless the header carries the key as a bearer token."""
    if path in OPEN_PATHS or path.startswith("/ready/"):
        return
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), api_key.encode()):
        raise Unauthorized("send the server's API key as `Authorization: Bearer …`")


def check_host(host_header: str | None, allowed: Collection[str]) -> None:
    """Raises Forbidden unless the Host header is an address, a name of this machine, or allowed.

    This stops DNS rebinding: a page whose own name resolves to our address sends that name.
    """
    host = _host_name(host_header or "")
    if not (_is_own(host) or host in allowed):
        raise Forbidden(f"the Host {host!r} is not served here; see --allowed-host")


def origin_allowed(origin: str, host_header: str | None, allowed: Collection[str]) -> bool:
    """Whether pages from `origin` may call: this server's own, those of this machine, and allowed ones."""
    if origin in allowed or "*" in allowed:
        return True
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and (rest == host_header or _is_loopback(_host_name(rest)))


def _host_name(host_and_port: str) -> str:
    if host_and_port.startswith("["):
        return host_and_port[1:].partition("]")[0].lower()
    return host_and_port.partition(":")[0].rstrip(".").lower()


def _is_own(host: str) -> bool:
    return _is_address(host) or _is_loopback(host) or host in ("", socket.gethostname().lower())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
