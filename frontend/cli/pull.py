"""`nacelle pull`: downloads and converts models, as the first start of a server would."""

import os
import sys
from pathlib import Path

import click

from frontend.cli.completion import complete_source
from frontend.cli.notes import print_notes
from frontend.cli.options import STORE_OPTION, config_option, layer_of
from frontend.cli.terminal import TerminalReporter
from frontend.cli.usage import WrongUsage
from frontend.config import Settings
from frontend.config_found import settings_here
from frontend.models.errors import ModelError
from frontend.models.pulling import Failed, JsonReporter, Order
from frontend.models.pulling import pull as pull_one
from frontend.models.sources.asked import WEIGHT_FORMATS


@click.command(
    params=[
        click.Argument(
            ["sources"], nargs=-1, required=True, metavar="SOURCE...", shell_complete=complete_source
        ),
        click.Option(["--name"], metavar="NAME", help="Name of the model in the store."),
        click.Option(
            ["--weight-format"],
            type=click.Choice(WEIGHT_FORMATS),
            help="Format of the weights of a model that is exported.  [default int8]",
        ),
        click.Option(["--revision"], metavar="REVISION", help="Branch, tag or commit of a hub's repository."),
        click.Option(["--file", "pattern"], metavar="GLOB", help="Only the files whose names match."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print the progress and the result as JSON."),
        STORE_OPTION,
        config_option,
    ]
)
def pull(
    sources: tuple[str, ...],
    name: str | None,
    weight_format: str | None,
    revision: str | None,
    pattern: str | None,
    as_json: bool,
    store: str | None,
    config: Path | None,
) -> None:
    """Download and convert models.

    SOURCE is a name of the catalogue, ORG/NAME or ORG/NAME:QUANT of a model hub, the URL of a GGUF file or
    archive, a gs:// or s3:// URL, or a local file or folder. Serving a model that was pulled needs no
    network. An interrupted pull continues where it stopped. Prints the folder of each model.
    """
    if name and len(sources) > 1:
        raise WrongUsage(f"--name is for one SOURCE, not for {len(sources)}\nTry: nacelle pull --help")
    settings, notes = settings_here(layer_of(Settings, {"store": store}), {}, [], config, os.environ)
    print_notes(notes)
    for source in sources:
        order = Order(
            source,
            settings.store,
            name or "",
            revision or "",
            pattern or "",
            weight_format or "",
            local=True,
        )
        if as_json:
            _print_json(order)
            continue
        with TerminalReporter() as reporter:
            done = pull_one(order, reporter)
        click.echo(done.path)


def _print_json(order: Order) -> None:
    reporter = JsonReporter(sys.stdout.buffer)
    try:
        reporter.print(pull_one(order, reporter))
    except ModelError as error:
        reporter.print(Failed(str(error)))
        raise
