"""`nacelle rm`: removes models from the store."""

from pathlib import Path

import click

from frontend.cli.completion import complete_stored
from frontend.cli.stores import STORE_PARAMS, named, open_store
from frontend.cli.units import shown_bytes


@click.command(
    "rm",
    params=[
        click.Argument(["names"], nargs=-1, required=True, metavar="NAME...", shell_complete=complete_stored),
        *STORE_PARAMS,
    ],
)
def remove(names: tuple[str, ...], store: str | None, config: Path | None) -> None:
    """Remove models from the store.

    NAME is a name that `nacelle list` shows, or the file or folder that a model was converted from. That file
    or folder is not touched. A model that a running server has loaded is not removed: unload it first.
    """
    models = open_store(store, config)
    for name in names:
        freed = models.remove(named(name))
        click.echo(f"Removed {name} ({shown_bytes(freed)} freed)")
