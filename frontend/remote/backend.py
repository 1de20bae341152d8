"""Where a model is served elsewhere: a URL of the operator's, and the key that goes with it."""

import os
from collections.abc import Mapping
from urllib.parse import SplitResult, quote, urlsplit

import msgspec

from frontend.config import ConfigError, ModelSettings
from frontend.shortened import quoted

WORK_PATH = "/internal/work"  # followed by the model's name
_VERSION = "/v1"


class Backend(msgspec.Struct, frozen=True):
    """One server that has the model."""

    url: str  # of its OpenAI API, such as http://host:8000/v1
    model: str  # its name there
    api_key: str | None

    @property
    def name(self) -> str:
        """For people: without credentials and path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    @property
    def work_url(self) -> str:
        """Of the WebSocket for work, if the server is a Nacelle."""
        return f"{self.url.removesuffix(_VERSION)}{WORK_PATH}/{quote(self.model)}"

    @property
    def headers(self) -> dict[str, str]:
        headers = {"User-Agent": "nacelle"}
        return headers if self.api_key is None else headers | {"Authorization": f"Bearer {self.api_key}"}


def backends_of(model: ModelSettings, environ: Mapping[str, str] = os.environ) -> list[Backend]:
    """Raises ConfigError."""
    key = key_in(model.remote_api_key_env, f"model {model.name!r}: remote_api_key_env", environ)
    return [Backend(base_url(url), model.remote_model or model.name, key) for url in model.remote]


def key_in(variable: str | None, setting: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The key in an environment variable that `setting` names. Raises ConfigError."""
    if variable is None:
        return None
    key = environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"{setting}: the environment has no variable {quoted(variable)}; set it to the server's API key"
        )
    if not (key.isascii() and key.isprintable()):
        raise ConfigError(f"{setting}: {quoted(variable)} must hold visible ASCII characters")
    return key


def base_url(text: str, setting: str = "remote") -> str:
    """The URL of an OpenAI API; /v1 where no path is given. Raises ConfigError, which names the setting."""
    key_setting = "registry_api_key_env" if setting == "registry_url" else "remote_api_key_env"
    try:
        parts = urlsplit(text.strip())
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(
            f"{setting}: {quoted(text)} is not the URL of a server; write http://HOST:PORT/… or "
            f"https://HOST/…, and put a key into the variable that {key_setting} names"
        )
    path = parts.path.rstrip("/") or _VERSION
    return SplitResult(parts.scheme, parts.netloc, path, "", "").geturl()
