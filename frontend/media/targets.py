"""What a URL of an image names, before anything is connected to. Pure; imports yarl, so import it late."""

import ipaddress
import re

from yarl import URL

from frontend.media.addresses import may_be_fetched_from
from frontend.media.domains import is_allowed
from frontend.media.given import FetchRules, ImageRefused

_MAX_URL_CHARACTERS = 8192
_MAX_HOST_CHARACTERS = 253
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_PLAIN = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_LAST_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_FIRST_HIGH_PORT = 1024

_NO_HOST = "must have a name or a plain IP address as its host"
NOT_PUBLIC = (
    "does not lead to a public address; if that is intended, start the server with --allow-private-media"
)


def target_of(url: str, rules: FetchRules) -> URL:
    """The URL to request, with a canonical host. Raises ImageRefused."""
    url = url.strip()
    if len(url) > _MAX_URL_CHARACTERS or _FORBIDDEN.search(url):
        raise ImageRefused("is not valid")
    try:
        return vetted(_parsed(url), rules)
    except ValueError:
        raise ImageRefused("is not valid") from None


def vetted(url: URL, rules: FetchRules) -> URL:
    """The same for a parsed URL, such as that of a redirect. Raises ImageRefused."""
    if url.scheme not in ("http", "https"):
        raise ImageRefused("must begin with data:, http:// or https://")
    if url.user is not None or url.password is not None:
        raise ImageRefused("must not contain a user name or a password")
    host = _canonical_host((url.raw_host or "").lower().removesuffix("."))
    if not is_allowed(host, rules.domains):
        raise ImageRefused(
            f"names a host that images are not fetched from; send a data URL, or start the server with "
            f"--allowed-media-domain {host}"
        )
    if _is_address(host) and not may_be_fetched_from(host, rules.allow_private):
        raise ImageRefused(NOT_PUBLIC)
    port = url.port or 0
    if port not in (80, 443) and port < _FIRST_HIGH_PORT:
        raise ImageRefused("names a port that images are not fetched from")
    return url.with_host(host).with_fragment(None)


def _canonical_host(host: str) -> str:
    """A name, or an address in its usual form. Raises ImageRefused."""
    try:
        if ":" in host:
            return str(ipaddress.IPv6Address(host))  # with a zone, it is refused as an address
        if _LAST_NUMBER.fullmatch(host):  # whoever resolves it sees an address, as in 127.1 or 0x7f.1
            return str(ipaddress.IPv4Address(host))
    except ValueError:
        raise ImageRefused(_NO_HOST) from None
    if not _NAME.fullmatch(host) or ".." in host or len(host) > _MAX_HOST_CHARACTERS:
        raise ImageRefused(_NO_HOST)
    return host


def _is_address(host: str) -> bool:
    return ":" in host or bool(_LAST_NUMBER.fullmatch(host))


def redirected(url: URL, location: str, rules: FetchRules) -> URL:
    """Where a redirect from `url` leads. Raises ImageRefused, which does not say where that is."""
    try:
        if len(location) <= _MAX_URL_CHARACTERS and not _FORBIDDEN.search(location):
            return vetted(url.join(_parsed(location)), rules)
    except (ValueError, ImageRefused):
        pass
    raise ImageRefused("is redirected to a URL that images are not fetched from")


def _parsed(url: str) -> URL:
    """A URL without unusual characters is requested as it is: it may be signed. Raises ValueError."""
    return URL(url, encoded=_PLAIN.fullmatch(url) is not None)
