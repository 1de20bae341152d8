"""Finds the server that a command talks to: `--url`, NACELLE_URL, else host and port of the settings."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import click

from frontend.cli.notes import print_notes
from frontend.cli.options import config_option
from frontend.cli.usage import WrongUsage
from frontend.config import Settings, is_loopback
from frontend.config_dotenv import DOTENV
from frontend.config_environment import URL_VARIABLE
from frontend.config_found import find_settings
from frontend.config_sources import load_settings
from frontend.shortened import quoted

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a server listens on, not we
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_KEY_VARIABLE = "NACELLE_API_KEY"
_PORTS = {"http": 80, "https": 443}

url_option = click.Option(
    ["--url"],
    metavar="URL",
    help="Server to talk to. Default: host and port of the settings, which are http://127.0.0.1:8000."
    f"  [env {URL_VARIABLE}]",
)
SERVER_PARAMS: list[click.Parameter] = [url_option, config_option]


class Address(NamedTuple):
    """Where a server is. `settings` are those that a server started here would have."""

    scheme: str
    host: str
    port: int
    path: str  # before /v1, without a slash at its end
    api_key: str | None
    named: bool  # by --url or NACELLE_URL: not a server that this command may start
    settings: Settings

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)


def find_server(url: str | None, config: Path | None, environ: Mapping[str, str] = os.environ) -> Address:
    """The address that the command line, the environment and the settings name. Raises ConfigError."""
    found = find_settings(config, environ)
    settings, notes = load_settings(config=found.config, environ=environ, dotenv=found.dotenv)
    print_notes([*found.notes, *notes])
    if named := url or environ.get(URL_VARIABLE, "").strip():
        return parse_url(named, settings, "--url" if url else URL_VARIABLE)
    if theirs := found.dotenv.get(URL_VARIABLE):
        address = parse_url(theirs, settings, f"{DOTENV} {URL_VARIABLE}")
        # A folder that comes from elsewhere must not have the user's key sent to a host that it names.
        return address._replace(api_key=found.dotenv.get(_KEY_VARIABLE) or None)
    if settings.port == 0:
        raise WrongUsage(
            "port is 0 in the settings, so that the server's port is unknown here; pass --url URL"
        )
    host = _WILDCARDS.get(settings.host.strip("[]"), settings.host.strip("[]"))
    scheme = "http" if settings.tls_certificate is None else "https"
    return Address(scheme, host, settings.port, "", settings.api_key, False, settings)


def parse_url(text: str, settings: Settings, origin: str) -> Address:
    """`origin` names the source of `text`, for errors. Raises WrongUsage."""
    whole = text if _SCHEME.match(text) else f"http://{text}"
    try:
        parts = urlsplit(whole)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in _PORTS:
        raise WrongUsage(f"{origin}: must be a URL such as http://127.0.0.1:8000, not {quoted(text)}")
    path = parts.path.rstrip("/").removesuffix("/v1")
    default = _PORTS[parts.scheme] if _SCHEME.match(text) else settings.port or 8000
    return Address(parts.scheme, host, port or default, path, settings.api_key, True, settings)
