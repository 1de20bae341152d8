"""Which requests pass: by their Host and Origin headers, traces of proxies, and whoever makes them.

Pure, but for the keys that `frontend.access` looks up; `gate.py` applies the decisions.
"""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from frontend.access.authentication import Authentication, authentication_of
from frontend.access.credentials import secrets_in
from frontend.access.scopes import check_scope, is_administration, is_open
from frontend.caller import ANYBODY, STRANGER, Caller
from frontend.config import ConfigError, Settings, is_loopback
from frontend.errors import Forbidden, ServerError, Unauthorized
from frontend.shortened import shortened

ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME_OR_ADDRESS = r"([^\s/:]+|\[[0-9a-f:.]+\])"
_ORIGIN = re.compile(rf"([a-z][a-z0-9+.-]*)://{_NAME_OR_ADDRESS}(?::([0-9]{{1,5}}))?/?")
_ORIGIN_OF_AN_APP = re.compile(r"([a-z][a-z0-9+.-]*)://[a-z0-9._-]*")  # file://, app://-, and the like
_HOST = re.compile(rf"(?:https?://)?{_NAME_OR_ADDRESS}(?::[0-9]{{1,5}})?/?")
_BARE_IPV6 = re.compile(r"([0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*)")  # anything with two colons
_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")  # in its ASCII form
_OWN_SITE = ("same-origin", "none")  # Sec-Fetch-Site of this server's pages, and of what a user typed
_SHOWN_CHARACTERS = 100  # of what a client sent
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


class Rules(msgspec.Struct, frozen=True):
    """What the server's settings say about access."""

    authentication: Authentication | None
    hosts: frozenset[str]  # allowed besides this machine's own, normalized; "*" allows all
    origins: frozenset[str]  # the same
    is_local: bool = True  # only this machine can connect


def rules_of(settings: Settings, before: Authentication | None = None) -> Rules:
    """`before`: what was in force.

    Raises ConfigError for a host name or an origin that no request could have, or for keys that cannot be
    read.
    """
    return Rules(
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
    is_preflight: bool = False  # the answer is which requests the origin may make
    hint: str | None = None  # the option that would let such requests pass
    caller: Caller = ANYBODY  # who made the request; without any rights where it is refused


def judge(rules: Rules, asked: Asked) -> Verdict:
    """Whether a request passes. An error may be readable by pages of an allowed origin, too."""
    needs_key = rules.authentication is not None and rules.authentication.is_required
    try:
        if not needs_key:  # a rebound page cannot know the key
            check_host(asked.host, rules.hosts)
    except Forbidden as error:
        return Verdict(error, hint=host_option(asked.host))
    if asked.origin is not None and not origin_allowed(asked.origin, asked.host, rules.origins):
        option = origin_option(asked.origin)
        shown = shortened(asked.origin, _SHOWN_CHARACTERS)
        return Verdict(
            Forbidden(f"pages of {shown} may not call this server; start it with {option} to allow them"),
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


def identified(rules: Rules, asked: Asked) -> Caller:
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


def _not_local(rules: Rules, asked: Asked) -> str:
    """Why a request may not be that of a program of this machine's user; empty if it is.

    Names and origins that are allowed to use the API are not allowed to administer.
    """
    if not rules.is_local:
        return "this server can be reached from other machines"
    if asked.forwarded_by is not None:
        return f"this request was forwarded by a proxy ({asked.forwarded_by})"
    host = _host_name(asked.host or "")
    # A TCP tunnel keeps the Host.
    if not _is_loopback(host) and host not in ("", socket.gethostname().lower()):
        return f"the Host {_shown(host)} is not an address of this machine alone"
    if asked.origin is not None and not origin_allowed(asked.origin, asked.host, frozenset()):
        return f"pages of {shortened(asked.origin, _SHOWN_CHARACTERS)} may not administer this server"
    # Images and links of a page are requested without an Origin.
    if asked.origin is None and asked.site is not None and asked.site.strip().lower() not in _OWN_SITE:
        return "pages of other sites may not administer this server"
    return ""


def forwarding_header(names: Iterable[str]) -> str | None:
    """The first of a request's headers, by lower-case names, that a proxy adds."""
    return next(
        (name for name in names if name in _FORWARDING or name.startswith(_FORWARDING_PREFIXES)), None
    )


def check_host(host_header: str | None, allowed: Collection[str]) -> None:
    """Raises Forbidden unless the Host header is an address, a name of this machine, or allowed.

    This stops DNS rebinding: a page whose own name resolves to our address sends that name.
    """
    host = _host_name(host_header or "")
    if not (_is_own(host) or host in allowed or ANY in allowed):
        raise Forbidden(
            f"the Host {_shown(host)} is not served here; start the server with "
            f"{host_option(host_header)} to allow it"
        )


def host_option(host_header: str | None) -> str:
    """The option that lets requests with this Host header pass."""
    return f"--allowed-host {_normalized_or(host_header or '', normalized_host, 'NAME')}"


def origin_option(origin: str) -> str:
    """The option that lets pages of this origin call."""
    return f"--allowed-origin {_normalized_or(origin, normalized_origin, 'ORIGIN')}"


def _normalized_or(value: str, normalize: Callable[[str], str], placeholder: str) -> str:
    """The placeholder stands for a value that is invalid, or too long to be shown."""
    try:
        return normalize(value) if len(value) <= _SHOWN_CHARACTERS else placeholder
    except ValueError:
        return placeholder


def normalized_origin(origin: str) -> str:
    """An origin as browsers send it: lower case, without a default port or a slash at its end.

    "*" stands for all origins; "null" and "file://" are those of local files. Raises ValueError.
    """
    origin = origin.strip()
    if origin in (ANY, "null"):
        return origin
    _refuse_wildcard(origin, "origin")
    found = _ORIGIN_OF_AN_APP.fullmatch(origin.lower())
    if found is not None and found[1] not in _DEFAULT_PORTS:
        return origin.lower()
    found = _ORIGIN.fullmatch(origin.lower())
    if found is None or int(found[3] or 0) > 65_535:
        raise ValueError(
            f"{_shown(origin)} is not an origin; use SCHEME://HOST or SCHEME://HOST:PORT, "
            "without a path or a wildcard, for example https://chat.example"
        )
    scheme, host, port = found.groups()
    default = _DEFAULT_PORTS.get(scheme)
    suffix = "" if port is None or int(port) == default else f":{int(port)}"
    return f"{scheme}://{_ascii(host)}{suffix}"


def normalized_host(host: str) -> str:
    """A host name as in `Rules.hosts`, from a name or an address with or without a port. Raises ValueError.

    An IPv6 address may have brackets, and must have them before a port. "*" stands for all names.
    """
    host = host.strip()
    if host == ANY:
        return host
    _refuse_wildcard(host, "host name")
    found = _BARE_IPV6.fullmatch(host.lower()) or _HOST.fullmatch(host.lower())
    if found is None:
        raise ValueError(
            f"{_shown(host)} is not a host name; use a name such as server.example, without a "
            "path or a wildcard"
        )
    return _host_name(_ascii(found[1]))


def _refuse_wildcard(text: str, what: str) -> None:
    if ANY in text:
        raise ValueError(f"{_shown(text)}: wildcards are not supported; name each {what}, or use * for all")


def _ascii(host: str) -> str:
    """The form that is sent: Punycode of an international name, the shortest form of an IPv6 address.

    Raises ValueError.
    """
    if ":" in host:
        return f"[{_ipv6(host.strip('[]'))}]"
    with contextlib.suppress(UnicodeError):
        host = host.encode("idna").decode() if not host.isascii() else host
    if not _NAME.fullmatch(host):
        raise ValueError(f"{_shown(host)} is not a host name; use letters, digits, '-' and '.'")
    return host


def _ipv6(address: str) -> ipaddress.IPv6Address:
    try:
        return ipaddress.IPv6Address(address)
    except ValueError:
        raise ValueError(f"{_shown(address)} is not an IPv6 address; use one such as fd00::1") from None


def origin_allowed(origin: str, host_header: str | None, allowed: Collection[str]) -> bool:
    """Whether pages from `origin` may call: this server's own, those of this machine, and allowed ones."""
    if ANY in allowed or origin in allowed:
        return True
    try:
        origin = normalized_origin(origin)
    except ValueError:
        return False
    scheme, _, rest = origin.partition("://")
    if scheme not in _DEFAULT_PORTS:
        return origin in allowed
    return origin in allowed or _is_loopback(_host_name(rest)) or _is_same(origin, scheme, host_header)


def _is_same(origin: str, scheme: str, host_header: str | None) -> bool:
    """Whether the page came from this server."""
    try:
        return origin == normalized_origin(f"{scheme}://{host_header}")
    except ValueError:
        return False


def _host_name(host_and_port: str) -> str:
    if host_and_port.startswith("["):
        return host_and_port[1:].partition("]")[0].lower()
    return host_and_port.partition(":")[0].rstrip(".").lower()


def _shown(text: str) -> str:
    return repr(shortened(text, _SHOWN_CHARACTERS))


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
