"""`nacelle pull`: downloads and converts models, as the first start of a server would."""

import os
from pathlib import Path

import click

from frontend.cli.notes import print_notes
from frontend.cli.options import STORE_OPTION, config_option, layer_of
from frontend.cli.terminal import TerminalReporter
from frontend.config import Settings
from frontend.config_found import settings_here
from frontend.models.resolve import preparer_for


@click.command(
    params=[
        click.Argument(["names"], nargs=-1, required=True, metavar="NAME..."),
        STORE_OPTION,
        config_option,
    ]
)
def pull(names: tuple[str, ...], store: str | None, config: Path | None) -> None:
    """Download and convert catalogue models.

    Serving them then needs no network. Prints the folder of each model.
    """
    settings, notes = settings_here(layer_of(Settings, {"store": store}), {}, [], config, os.environ)
    print_notes(notes)
    for name in names:
        with TerminalReporter() as reporter:
            folder = preparer_for(settings.store, reporter).pull(name)
        click.echo(str(folder))
