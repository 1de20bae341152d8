"""`nacelle logs`: what the server in the background has written."""

import re
import sys
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TextIO

import click

from frontend.cli.address import SERVER_PARAMS, Address, find_server
from frontend.cli.background import Background
from frontend.cli.completion import complete_model
from frontend.shortened import VALUE_CHARACTERS, shortened, shown_path

_BEGIN = re.compile(r"\d\d:\d\d:\d\d |\{")  # of a line that does not continue the one before
_POLL_SECONDS = 0.2


@click.command(
    params=[
        click.Argument(["model"], required=False, metavar="[MODEL]", shell_complete=complete_model),
        click.Option(["-f", "--follow"], is_flag=True, help="Keep printing new lines until Ctrl-C."),
        click.Option(
            ["-n", "--lines"],
            type=click.IntRange(min=0),
            default=100,
            show_default=True,
            metavar="N",
            help="Show the last N lines.",
        ),
        *SERVER_PARAMS,
    ]
)
def logs(model: str | None, follow: bool, lines: int, url: str | None, config: Path | None) -> None:
    """Show the log of the server in the background, or its lines about one model."""
    log = _log_of(find_server(url, config))
    with log.open(encoding="utf-8", errors="replace") as file:
        found = last(about(file, model), max(lines, 1))
        for line in list(found)[-lines:] if lines else []:
            click.echo(line, nl=False)
        if not found and model is not None:
            message = f"no line of {log} names {shortened(model, VALUE_CHARACTERS)}"
            if not follow:
                raise click.ClickException(f"{message}; nacelle logs shows all lines")
            click.echo(message, err=True)
        if follow:
            for line in about(_growing(file), model):
                click.echo(line, nl=False)


def _log_of(address: Address) -> Path:
    background = Background(address.port)
    if address.is_here and background.log.exists():
        if background.find() is None:
            click.echo("The server in the background has ended; this is what it wrote.", err=True)
        return background.log
    raise click.ClickException(
        f"no server was started in the background for {shown_path(address.url)}; any other writes its log "
        "where it was started; under a manager, see journalctl -u UNIT, docker logs NAME or kubectl logs POD"
    )


def about(lines: Iterable[str], model: str | None) -> Iterator[str]:
    """The lines that name the model, with those that continue them, such as tracebacks. Pure."""
    if model is None:
        yield from lines
        return
    named = re.compile(rf"(?<![\w.-]){re.escape(model)}(?![\w.-])")
    shown = False
    for line in lines:
        if _BEGIN.match(line) or named.search(line):
            shown = named.search(line) is not None
        if shown:
            yield line


def last(lines: Iterable[str], count: int) -> Collection[str]:
    return deque(lines, maxlen=min(count, sys.maxsize))


def _growing(file: TextIO) -> Iterator[str]:
    """Whole lines as they are appended, indefinitely."""
    rest = ""
    while True:
        part = file.readline()
        rest += part
        if rest.endswith("\n"):
            yield rest
            rest = ""
        elif not part:
            time.sleep(_POLL_SECONDS)
