"""The settings files of the working folder, `nacelle.toml` and `.env`, which are used without being named.

Whoever can write there decides how the server runs. So a file counts only if it belongs to the user (or to
root) and nobody else may write it, and that it was used is reported.
"""

import logging
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from frontend.config import ConfigError, Settings
from frontend.config_dotenv import DOTENV, parse_dotenv
from frontend.config_environment import CONFIG_VARIABLE, Note
from frontend.config_sources import Gathered, Layer, gather_settings, load_settings

CONFIG_FILE = "nacelle.toml"
NO_FILE = "none"  # as --config: use neither file of the working folder
_MAX_DOTENV_BYTES = 1024**2


class Found(NamedTuple):
    """`config` is the settings file, named or found; `dotenv` has the variables of `.env`."""

    config: Path | None
    dotenv: dict[str, str]
    notes: list[Note]


def find_settings(config: Path | None, environ: Mapping[str, str], folder: Path | None = None) -> Found:
    """What is used besides the command line and the environment; `config` is the value of --config.

    Raises ConfigError for a `.env` that cannot be read.
    """
    folder = folder or Path()
    config = config or _named(environ.get(CONFIG_VARIABLE))
    if config is not None and str(config) == NO_FILE:
        return Found(None, {}, [])
    notes: list[Note] = []
    used: list[str] = []
    dotenv: dict[str, str] = {}
    if _is_trusted(folder / DOTENV, notes):
        dotenv = parse_dotenv(_read(folder / DOTENV))
        used += [DOTENV] if dotenv else []
    config = config or _named(dotenv.get(CONFIG_VARIABLE))
    if config is None and _is_trusted(folder / CONFIG_FILE, notes):
        config = folder / CONFIG_FILE
        used.insert(0, CONFIG_FILE)
    if used:
        named = "it" if len(used) == 1 else "them"
        message = f"using {' and '.join(used)} of this folder; --config none ignores {named}"
        notes.append(Note(logging.INFO, message))
    return Found(config, dotenv, notes)


def settings_here(
    server_options: Layer | None,
    model_options: Layer | None,
    models: Iterable[str],
    config: Path | None,
    environ: Mapping[str, str],
) -> tuple[Settings, list[Note]]:
    """As `load_settings`, with the files of the working folder."""
    found = find_settings(config, environ)
    settings, notes = load_settings(
        server_options, model_options, models, found.config, environ, found.dotenv
    )
    return settings, [*found.notes, *notes]


def gather_here(
    server_options: Layer | None,
    model_options: Layer | None,
    models: Iterable[str],
    config: Path | None,
    environ: Mapping[str, str],
) -> Gathered:
    """As `gather_settings`, with the files of the working folder."""
    found = find_settings(config, environ)
    gathered = gather_settings(server_options, model_options, models, found.config, environ, found.dotenv)
    return gathered._replace(notes=[*found.notes, *gathered.notes])


def _named(value: str | None) -> Path | None:
    return Path(value.strip()) if value and value.strip() else None


def _is_trusted(file: Path, notes: list[Note]) -> bool:
    """Whether a file is there and may be used. Why not is added to the notes."""
    try:
        status = file.stat()
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode):
        return False
    if status.st_uid not in (0, os.geteuid()):
        why = "it belongs to another user"
    elif status.st_mode & stat.S_IWOTH:
        why = "every user may write it"
    elif status.st_mode & stat.S_IWGRP and status.st_gid != status.st_uid:
        why = "its group may write it"
    else:
        return True
    remedy = "; name it with --config to use it" if file.name == CONFIG_FILE else ""
    notes.append(Note(logging.WARNING, f"ignored {file.name} of this folder: {why}{remedy}"))
    return False


def _read(file: Path) -> str:
    """Raises ConfigError."""
    try:
        content = file.read_bytes()[: _MAX_DOTENV_BYTES + 1]
    except OSError as error:
        raise ConfigError(
            f"cannot read {file.name}: {error.strerror or error}; --config none ignores it"
        ) from error
    if len(content) > _MAX_DOTENV_BYTES:
        raise ConfigError(f"cannot read {file.name}: it is larger than 1 MiB; --config none ignores it")
    return content.decode("utf-8-sig", errors="replace")
