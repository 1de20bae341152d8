"""`nacelle list`: the models of the catalogue and of the store."""

import os
import shutil
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click

from frontend.cli.notes import print_notes
from frontend.cli.options import STORE_OPTION, config_option, layer_of
from frontend.cli.units import MEGABYTE
from frontend.config import Settings
from frontend.config_sources import load_settings
from frontend.models.catalogue import Entry, load_catalogue
from frontend.models.manifest import Manifest
from frontend.models.reporter import Silent
from frontend.models.resolve import recipe_of, store_root
from frontend.models.store import Store
from frontend.models.versions import converter_versions

_MIN_DESCRIPTION = 20  # characters in a line, however narrow the terminal
_UNLIMITED = 1_000_000
_HEADINGS = ("NAME", "STATE", "SIZE", "DESCRIPTION")


class Row(NamedTuple):
    """One model. `bytes` is its size in the store, or its download size if it is not in the store."""

    name: str
    state: str
    bytes: int
    description: str


@click.command("list", params=[STORE_OPTION, config_option])
def listing(store: str | None, config: Path | None) -> None:
    """List the catalogue and the models in the store."""
    settings, notes = load_settings(layer_of(Settings, {"store": store}), config=config, environ=os.environ)
    print_notes(notes)
    root = store_root(settings.store)
    models = Store(root, Silent())
    stored = [manifest for manifest in models.manifests() if models.find(manifest.recipe)]  # not damaged ones
    rows = catalogue_rows(load_catalogue(), models) + file_rows(stored, converter_versions())
    for line in table(rows, shutil.get_terminal_size().columns):
        click.echo(line)
    click.echo(f"\nStore: {root}")


def catalogue_rows(catalogue: dict[str, Entry], store: Store) -> list[Row]:
    rows = []
    for name, entry in catalogue.items():
        found = store.find(recipe_of(name, entry))
        size = (
            sum(file.stat().st_size for file in found.rglob("*") if file.is_file()) if found else entry.bytes
        )
        text = f"{entry.description} ({entry.licence})"
        rows.append(Row(name, "ready" if found else "not pulled", size, text))
    return rows


def file_rows(manifests: Iterable[Manifest], converters: dict[str, str]) -> list[Row]:
    """Converted model files of users. One converted by another OpenVINO version is converted again on use."""
    return [
        Row(
            manifest.recipe.name,
            "ready" if manifest.recipe.converters == converters else "outdated",
            sum(manifest.files.values()),
            f"converted from {manifest.source}",
        )
        for manifest in manifests
        if manifest.recipe.kind == "files"
    ]


def table(rows: list[Row], width: int = _UNLIMITED) -> list[str]:
    """The rows in aligned columns, with headings, in lines of at most `width` characters if words allow it.

    Nothing is truncated: long descriptions continue below their beginning.
    """
    cells = [
        _HEADINGS,
        *((row.name, row.state, f"{row.bytes / MEGABYTE:.0f} MB", row.description) for row in rows),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    indent = " " * (sum(widths) + 6)
    return [
        line
        for name, state, size, description in cells
        for line in textwrap.wrap(
            f"{name:<{widths[0]}}  {state:<{widths[1]}}  {size:>{widths[2]}}  {description}",
            max(width, len(indent) + _MIN_DESCRIPTION),
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    ]
