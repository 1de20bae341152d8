"""Who may ask: API key, Host and Origin headers. Pure decisions; `middleware.py` applies them."""

import hmac
import ipaddress
import socket
from collections.abc import Collection

from frontend.errors import Forbidden, Unauthorized

OPEN_PATHS = ("/health", "/ready")  # for probes, which carry no key


def check_key(authorization: str | None, api_key: str, path: str) -> None:
    """Raises Unauthorized unless the header carries the key as a bearer token."""
    if path in OPEN_PATHS or path.startswith("/ready/"):
        return
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), api_key.encode()):
        raise Unauthorized("send the server's API key as `Authorization: Bearer …`")


def check_host(host_header: str | None, allowed: Collection[str]) -> None:
    """Raises Forbidden unless the Host header is an address, a name of this machine, or allowed.

    A page that resolves its own name to our address (DNS rebinding) sends that name.
    """
    host = _host_name(host_header or "")
    if not (_is_own(host) or host in allowed):
        raise Forbidden(f"the Host {host!r} is not served here; see --allowed-host")


def origin_allowed(origin: str, host_header: str | None, allowed: Collection[str]) -> bool:
    """Whether a browser's page from `origin` may call: pages of this server, of this machine, or allowed."""
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
