"""`nacelle stop`: unloads models, or ends the server in the background."""

from pathlib import Path

import click

from frontend.cli.address import SERVER_PARAMS, Address, find_server
from frontend.cli.background import Background
from frontend.cli.client import Client, NoServer
from frontend.cli.completion import complete_loaded
from frontend.cli.loading import unload_models
from frontend.cli.usage import WrongUsage
from frontend.cli.waiting import Waiting

_MARGIN_SECONDS = 15.0  # beyond the budgets that the server has to shut down


@click.command(
    params=[
        click.Argument(["models"], nargs=-1, metavar="[MODEL]...", shell_complete=complete_loaded),
        click.Option(["--server"], is_flag=True, help="End the server that runs in the background."),
        *SERVER_PARAMS,
    ]
)
def stop(models: tuple[str, ...], server: bool, url: str | None, config: Path | None) -> None:
    """Unload models from a running server, or end the server in the background."""
    if bool(models) == server:
        raise WrongUsage("name a model to unload, or pass --server to end the server in the background")
    address = find_server(url, config)
    if models:
        unload_models(Client(address), models)
    else:
        _stop_server(address)


def _stop_server(address: Address) -> None:
    background = Background(address.port)
    record = background.find() if address.is_here else None
    if record is None:
        raise click.ClickException(_why_not(address))
    settings = address.settings
    budget = settings.drain_seconds + settings.term_seconds + _MARGIN_SECONDS
    with Waiting(f"stopping the server at {record.url}"):
        gone = background.stop(record, budget)
    if not gone:
        raise click.ClickException(
            f"the server (process {record.pid}) still runs after {budget:.0f} s; its log is {record.log}"
        )
    click.echo(f"the server at {record.url} has ended")


def _why_not(address: Address) -> str:
    try:
        Client(address).get("/health", seconds=5.0)
    except NoServer:
        return f"no server runs at {address.url}"
    except click.ClickException:
        pass
    return (
        f"the server at {address.url} was not started in the background by nacelle run; "
        "end it where it runs, with Ctrl-C or SIGTERM"
    )
