"""`nacelle cp`: gives a model of the store another name."""

from pathlib import Path

import click

from frontend.cli.completion import complete_stored
from frontend.cli.stores import STORE_PARAMS, named, open_store


@click.command(
    "cp",
    params=[
        click.Argument(["old"], metavar="OLD", shell_complete=complete_stored),
        click.Argument(["new"], metavar="NEW"),
        *STORE_PARAMS,
    ],
)
def copy(old: str, new: str, store: str | None, config: Path | None) -> None:
    """Give a model of the store another name.

    NEW is NAME or NAME:TAG. Both models share their weights on the disk, and each can be removed without the
    other. An earlier copy of the name NEW is replaced.
    """
    copied = open_store(store, config).copy(named(old), new)
    click.echo(f"Copied {old} to {copied.name}")
