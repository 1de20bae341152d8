"""Hosts and origins: their normal form, which ones are allowed, and the option that allows another. Pure."""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Callable, Collection

from frontend.errors import Forbidden
from frontend.shortened import shortened

ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NAME_OR_ADDRESS = r"([^\s/:]+|\[[0-9a-f:.]+\])"
_ORIGIN = re.compile(rf"([a-z][a-z0-9+.-]*)://{_NAME_OR_ADDRESS}(?::([0-9]{{1,5}}))?/?")
_ORIGIN_OF_AN_APP = re.compile(r"([a-z][a-z0-9+.-]*)://[a-z0-9._-]*")  # file://, app://-, and the like
_HOST = re.compile(rf"(?:https?://)?{_NAME_OR_ADDRESS}(?::[0-9]{{1,5}})?/?")
_BARE_IPV6 = re.compile(r"([0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*)")  # anything with two colons
_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")  # in its ASCII form
_NAME_CHARACTERS = 253  # of any name in the DNS; Punycode of a long one takes long
_SHOWN_CHARACTERS = 100  # of what a client sent


def check_host(host_header: str | None, allowed: Collection[str]) -> None:
    """Raises Forbidden unless the Host header is an address, a name of this machine, or allowed.

    This stops DNS rebinding: a page whose own name resolves to our address sends that name.
    """
    host = host_name(host_header or "")
    if not (_is_own(host) or host in allowed or ANY in allowed):
        raise Forbidden(
            f"the Host {shown(host)} is not served here; start the server with "
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
            f"{shown(origin)} is not an origin; use SCHEME://HOST or SCHEME://HOST:PORT, "
            "without a path or a wildcard, for example https://chat.example"
        )
    scheme, host, port = found.groups()
    default = _DEFAULT_PORTS.get(scheme)
    suffix = "" if port is None or int(port) == default else f":{int(port)}"
    return f"{scheme}://{_ascii(host)}{suffix}"


def normalized_host(host: str) -> str:
    """The host name in a name or an address with or without a port, as in `AccessRules.hosts`.

    An IPv6 address may have brackets, and must have them before a port. "*" stands for all names. Raises
    ValueError.
    """
    host = host.strip()
    if host == ANY:
        return host
    _refuse_wildcard(host, "host name")
    found = _BARE_IPV6.fullmatch(host.lower()) or _HOST.fullmatch(host.lower())
    if found is None:
        raise ValueError(
            f"{shown(host)} is not a host name; use a name such as server.example, without a "
            "path or a wildcard"
        )
    return host_name(_ascii(found[1]))


def _refuse_wildcard(text: str, what: str) -> None:
    if ANY in text:
        raise ValueError(f"{shown(text)}: wildcards are not supported; name each {what}, or use * for all")


def _ascii(host: str) -> str:
    """The form that is sent: Punycode of an international name, the shortest form of an IPv6 address.

    Raises ValueError.
    """
    if ":" in host:
        return f"[{_ipv6(host.strip('[]'))}]"
    if len(host) > _NAME_CHARACTERS:
        raise ValueError(f"{shown(host)} is not a host name; it exceeds {_NAME_CHARACTERS} characters")
    with contextlib.suppress(UnicodeError):
        host = host.encode("idna").decode() if not host.isascii() else host
    if not _NAME.fullmatch(host):
        raise ValueError(f"{shown(host)} is not a host name; use letters, digits, '-' and '.'")
    return host


def _ipv6(address: str) -> ipaddress.IPv6Address:
    try:
        return ipaddress.IPv6Address(address)
    except ValueError:
        raise ValueError(f"{shown(address)} is not an IPv6 address; use one such as fd00::1") from None


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
    return origin in allowed or is_loopback_name(host_name(rest)) or _is_same(origin, scheme, host_header)


def _is_same(origin: str, scheme: str, host_header: str | None) -> bool:
    """Whether the page came from this server."""
    try:
        return origin == normalized_origin(f"{scheme}://{host_header}")
    except ValueError:
        return False


def host_name(host_and_port: str) -> str:
    if host_and_port.startswith("["):
        return host_and_port[1:].partition("]")[0].lower()
    return host_and_port.partition(":")[0].rstrip(".").lower()


def shown_origin(origin: str) -> str:
    return shortened(origin, _SHOWN_CHARACTERS)


def shown(text: str) -> str:
    return repr(shortened(text, _SHOWN_CHARACTERS))


def _is_own(host: str) -> bool:
    return _is_address(host) or is_loopback_name(host) or host in ("", socket.gethostname().lower())


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback_name(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
