"""Reads the settings file: TOML with the tables [server], [aliases] and [variants.NAME], and [[models]]."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from frontend.config import ConfigError
from frontend.config_values import expanded
from frontend.shortened import PATH_CHARACTERS, quoted, shortened, shown_path

NAME_TABLES = ("aliases", "variants")  # settings of the server that are tables of their own
_MAX_FILE_BYTES = 1024**2


def read_file(path: Path, place_of: Callable[[str], str]) -> dict[str, Any]:
    """The tables of a file, with paths made relative to its folder. Settings are not checked.

    `place_of` explains where a key belongs that is not a table. Raises ConfigError.
    """
    content = _parse(path)
    for key in sorted(content.keys() - {"server", "models", *NAME_TABLES}):
        raise ConfigError(f"{shown_path(path)}: unknown table {quoted(key)}; {place_of(key)}")
    server, models = content.get("server", {}), content.get("models", [])
    if not isinstance(server, dict):
        raise ConfigError(f"{shown_path(path)}: the server's settings must be a table, [server]")
    if not isinstance(models, list) or not all(isinstance(entry, dict) for entry in models):
        raise ConfigError(f"{shown_path(path)}: each model must be an array entry, [[models]]")
    anchored = partial(_anchored, path)
    _anchor_server(server, anchored)
    for entry in models:
        _anchor_model(entry, anchored)
    return content


def _parse(path: Path) -> dict[str, Any]:
    import tomllib  # imported only when there is a file

    shown = shown_path(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise ConfigError(f"cannot read {shown}: it is larger than 1 MiB; is it a settings file in TOML?")
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"cannot read {shown}: {error.strerror or error}; correct --config") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"cannot read {shown}: it is not UTF-8 text; save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = shortened(str(error), PATH_CHARACTERS)
        raise ConfigError(f"cannot read {shown} as TOML: {reason}") from error


def _anchored(file: Path, path: Any) -> Any:
    """`path` relative to the settings file's folder. An empty one, or another type, is rejected later."""
    if not isinstance(path, str) or not path.strip():
        return path
    return str(file.parent / expanded(path.strip(), shown_path(file)))


_PATHS = ("store", "api_keys_file", "jwt_public_key_file", "tls_certificate", "tls_key")


def _anchor_server(server: dict[str, Any], anchored: Callable[[Any], Any]) -> None:
    for name in _PATHS:
        if name in server:
            server[name] = anchored(server[name])
    scheme, _, path = str(server.get("session_store", "")).strip().partition(":")
    if scheme == "sqlite" and path and not path.startswith("//"):
        server["session_store"] = f"sqlite:{anchored(path)}"


def _anchor_model(entry: dict[str, Any], anchored: Callable[[Any], Any]) -> None:
    for name in ("source", "draft_model"):  # a catalogue name if there is no slash
        if "/" in str(entry.get(name, "")):
            entry[name] = anchored(entry[name])
    if "chat_template" in entry:
        entry["chat_template"] = anchored(entry["chat_template"])
    if isinstance(adapters := entry.get("adapters"), dict):
        entry["adapters"] = {name: anchored(path) for name, path in adapters.items()}
