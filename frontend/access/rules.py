"""Which requests pass: by their Host and Origin headers, the headers that proxies add, and their caller.

Pure except for looking up keys; `http/gate.py` applies the decisions.
"""

import contextlib
import socket
from collections.abc import Callable, Iterable, Sequence

import msgspec

from frontend.access.authentication import Authentication, authentication_of
from frontend.access.credentials import secrets_in
from frontend.access.origins import (
    check_host,
    host_name,
    host_option,
    is_loopback_name,
    normalized_host,
    normalized_origin,
    origin_allowed,
    origin_option,
    shown,
    shown_origin,
)
from frontend.access.scopes import check_scope, is_administration, is_open
from frontend.caller import ANYBODY, STRANGER, Caller
from frontend.config import ConfigError, Settings, is_loopback
from frontend.errors import Forbidden, ServerError, Unauthorized

_OWN_SITE = ("same-origin", "none")  # Sec-Fetch-Site of this server's pages, and of what a user typed
# What proxies and tunnels add to a request: its client is not on this machine.
_FORWARDING = (
    "forwarded",
    "forwarded-for",
    "x-forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-proxyuser-ip",
    "client-ip",
    "true-client-ip",
    "fly-client-ip",
)
_FORWARDING_PREFIXES = ("x-forwarded-", "x-original-forwarded-", "x-envoy-", "cf-", "fastly-", "tailscale-")


class AccessRules(msgspec.Struct, frozen=True):
    """What the server's settings say about access."""

    authentication: Authentication | None
    hosts: frozenset[str]  # allowed besides this machine's own, normalized; "*" allows all
    origins: frozenset[str]  # the same
    is_local: bool = True  # only this machine can connect


def access_rules(settings: Settings, before: Authentication | None = None) -> AccessRules:
    """`before`: the previous authentication.

    Raises ConfigError for a host name or an origin that no request could have, or for keys that cannot be
    read.
    """
    return AccessRules(
        authentication_of(settings, before),
        _normalized("allowed_hosts", settings.allowed_hosts, normalized_host),
        _normalized("allowed_origins", settings.allowed_origins, normalized_origin),
        is_loopback(settings.host),
    )


def _normalized(setting: str, values: Iterable[str], normalize: Callable[[str], str]) -> frozenset[str]:
    try:
        return frozenset(map(normalize, values))
    except ValueError as error:
        raise ConfigError(f"{setting}: {error}") from None


class Asked(msgspec.Struct, frozen=True):
    """What the decision depends on. Headers are None where the request has none."""

    method: str  # GET for the handshake of a WebSocket, as in HTTP
    path: str
    host: str | None
    origin: str | None
    authorization: str | None
    forwarded_by: str | None = None  # the first header that a proxy added
    site: str | None = None  # Sec-Fetch-Site: how the page that asks is related to this server
    api_key: str | None = None  # X-Api-Key, in which Anthropic's clients send the key


class Verdict(msgspec.Struct, frozen=True):
    error: ServerError | None = None  # the answer, where the request is refused
    shared_with: str | None = None  # the origin whose pages may read the answer
    is_preflight: bool = False  # the answer lists which requests the origin may make
    hint: str | None = None  # the option that would let such requests pass
    caller: Caller = ANYBODY  # who made the request; without any rights where it is refused


def judge(rules: AccessRules, asked: Asked) -> Verdict:
    """Whether a request passes. An error may be readable by pages of an allowed origin, too."""
    needs_key = rules.authentication is not None and rules.authentication.is_required
    try:
        if not needs_key:  # a rebound page cannot know the key
            check_host(asked.host, rules.hosts)
    except Forbidden as error:
        return Verdict(error, hint=host_option(asked.host))
    if asked.origin is not None and not origin_allowed(asked.origin, asked.host, rules.origins):
        option = origin_option(asked.origin)
        page = shown_origin(asked.origin)
        return Verdict(
            Forbidden(f"pages of {page} may not call this server; start it with {option} to allow them"),
            hint=option,
        )
    if asked.origin is not None and asked.method == "OPTIONS":  # sent without the key
        return Verdict(shared_with=asked.origin, is_preflight=True)
    if needs_key:
        try:
            return Verdict(shared_with=asked.origin, caller=identified(rules, asked))
        except (Unauthorized, Forbidden) as error:
            return Verdict(error, asked.origin, caller=Caller(error.key_id, frozenset(), models=()))
    if is_administration(asked.path) and (why := _not_local(rules, asked)):
        remedy = "set NACELLE_API_KEY and send it as a bearer token"
        return Verdict(
            Forbidden(f"{why}; to administer the server or to use its engines directly, {remedy}"),
            asked.origin,
        )
    return Verdict(shared_with=asked.origin)


def identified(rules: AccessRules, asked: Asked) -> Caller:
    """Who makes a request to a server with keys. Raises Unauthorized, or Forbidden for a missing scope."""
    assert rules.authentication is not None
    secrets = secrets_in(asked.authorization, asked.api_key)
    if is_open(asked.path, asked.method):
        return _known_or_stranger(rules.authentication, secrets)
    caller = rules.authentication.identify(secrets)
    check_scope(caller, asked.path)
    return caller


def _known_or_stranger(authentication: Authentication, secrets: Sequence[str]) -> Caller:
    """For paths without a key: a wrong one closes none."""
    with contextlib.suppress(Unauthorized):
        if secrets:
            return authentication.identify(secrets)
    return STRANGER


def _not_local(rules: AccessRules, asked: Asked) -> str:
    """Why a request may not come from a program of this machine's user; empty if it does.

    Names and origins that are allowed to use the API are not allowed to administer.
    """
    if not rules.is_local:
        return "this server can be reached from other machines"
    if asked.forwarded_by is not None:
        return f"this request was forwarded by a proxy ({asked.forwarded_by})"
    host = host_name(asked.host or "")
    # A TCP tunnel keeps the Host.
    if not is_loopback_name(host) and host not in ("", socket.gethostname().lower()):
        return f"the Host {shown(host)} is not an address of this machine alone"
    if asked.origin is not None and not origin_allowed(asked.origin, asked.host, frozenset()):
        return f"pages of {shown_origin(asked.origin)} may not administer this server"
    # Images and links of a page are requested without an Origin.
    if asked.origin is None and asked.site is not None and asked.site.strip().lower() not in _OWN_SITE:
        return "pages of other sites may not administer this server"
    return ""


def forwarding_header(names: Iterable[str]) -> str | None:
    """The first of a request's headers, by lower-case names, that a proxy adds."""
    return next(
        (name for name in names if name in _FORWARDING or name.startswith(_FORWARDING_PREFIXES)), None
    )
