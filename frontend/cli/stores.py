"""The store that a command works on."""

import os
from pathlib import Path

import click

from frontend.cli.notes import print_notes
from frontend.cli.options import STORE_OPTION, config_option, layer_of
from frontend.config import Settings
from frontend.config_found import settings_here
from frontend.models.inventory import Inventory
from frontend.models.root import store_root

STORE_PARAMS = [STORE_OPTION, config_option]
json_option = click.Option(["--json", "as_json"], is_flag=True, help="Print JSON for programs.")


def named(text: str) -> str:
    """What a user calls a model: a name, or the path of what it was converted from, made absolute."""
    return str(Path(text).expanduser().absolute()) if text.startswith((".", "~", "/")) else text


def open_store(store: str | None, config: Path | None) -> Inventory:
    """Raises ConfigError."""
    settings, notes = settings_here(layer_of(Settings, {"store": store}), {}, [], config, os.environ)
    print_notes(notes)
    return Inventory(store_root(settings.store))
