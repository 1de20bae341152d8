"""The domains that images may be fetched from. Pure."""

import contextlib
import ipaddress
import re
from collections.abc import Collection, Iterable

from frontend.config import ConfigError
from frontend.shortened import quoted

ANY = "*"
_SETTING = "allowed_media_domains"
_NAME = re.compile(r"\.?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def normalized_domains(domains: Iterable[str]) -> frozenset[str]:
    """The domains as `is_allowed` compares them. Raises ConfigError for what no host can match."""
    return frozenset(map(_normalized, domains))


def is_allowed(host: str, domains: Collection[str]) -> bool:
    """Whether `host` is allowed: a name in lower case without a dot at its end, or an address.

    `.example.com` allows example.com and all names below it; a name without the dot allows only itself.
    """
    if ANY in domains or host in domains:
        return True
    labels = host.split(".")
    return any("." + ".".join(labels[start:]) in domains for start in range(len(labels)))


def _normalized(domain: str) -> str:
    name = domain.strip().lower()
    if name == ANY:
        return name
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(name.strip("[]")))
    if not name.isascii():
        with contextlib.suppress(UnicodeError):
            dot = "." if name.startswith(".") else ""
            name = dot + name.removeprefix(".").encode("idna").decode()
    name = name.removesuffix(".")
    if not _NAME.fullmatch(name) or ".." in name:
        raise ConfigError(
            f"{_SETTING}: {quoted(domain)} is not a domain; use example.com, .example.com for its subdomains "
            "as well, or * for all"
        )
    return name
