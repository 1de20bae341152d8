"""`nacelle list`: the models of the catalogue and of the store."""

import shutil
import sys
import textwrap
from pathlib import Path

import click
import msgspec

from frontend.cli.stores import STORE_PARAMS, json_option, open_store
from frontend.cli.styles import styled
from frontend.cli.units import MEGABYTE
from frontend.models.catalogue import CATALOGUE, Entry, load_catalogue, recipe_of
from frontend.models.inventory import Inventory
from frontend.models.shelf import Installed

_MIN_DESCRIPTION = 20  # characters in a line, however narrow the terminal
_UNLIMITED = 1_000_000
_HEADINGS = ("NAME", "STATE", "SIZE", "DESCRIPTION")
READY, OUTDATED, NOT_PULLED = "ready", "outdated", "not pulled"
_ORIGINS = {"files": "converted from", "copies": "copy of"}


class Row(msgspec.Struct, frozen=True):
    """One model. `bytes` is its size in the store, or its download size if it is not in the store."""

    name: str
    state: str
    bytes: int
    description: str
    task: str = ""
    precision: str = ""
    context_length: int | None = None
    source: str = ""
    path: str | None = None  # its folder, if it is in the store
    modified: str | None = None  # when it was stored, as in ISO 8601


@click.command(
    "list",
    params=[
        json_option,
        *STORE_PARAMS,
    ],
)
def listing(as_json: bool, store: str | None, config: Path | None) -> None:
    """List the catalogue and the models in the store."""
    models = open_store(store, config)
    rows = rows_of(load_catalogue(), models)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(rows)))
        return
    headings, *lines = table(rows, shutil.get_terminal_size().columns)
    click.echo(styled(headings, "bold", sys.stdout))
    for line in lines:
        click.echo(line)
    click.echo(f"\nStore: {models.root}")


def rows_of(catalogue: dict[str, Entry], store: Inventory) -> list[Row]:
    """The models of the catalogue in its order, then what else is in the store."""
    installed = store.installed()
    own = {one.name: one for one in installed if one.kind == CATALOGUE}
    return [
        *(catalogue_row(name, entry, own.get(name)) for name, entry in catalogue.items()),
        *(installed_row(one) for one in installed if one.kind != CATALOGUE or one.name not in catalogue),
    ]


def catalogue_row(name: str, entry: Entry, found: Installed | None) -> Row:
    description = f"{entry.description} ({entry.licence})"
    if found is None:
        return Row(name, NOT_PULLED, entry.bytes, description, source=name)
    state = READY if found.manifest.recipe == recipe_of(name, entry) else OUTDATED
    return _row(found, state, description)


def installed_row(one: Installed) -> Row:
    """A model from elsewhere. Outdated is what another version of OpenVINO converted."""
    origin = _ORIGINS.get(one.kind, "from")
    return _row(one, READY if one.is_current else OUTDATED, f"{origin} {one.manifest.source}")


def _row(one: Installed, state: str, description: str) -> Row:
    manifest = one.manifest
    return Row(
        one.name,
        state,
        one.bytes,
        description,
        manifest.task,
        manifest.precision,
        manifest.context_length,
        manifest.source,
        str(one.path),
        manifest.created.isoformat(timespec="seconds"),
    )


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
