"""Has a server serve a model: starts one if none runs, and adds the model if the server lacks it."""

import subprocess
import time
from pathlib import Path

import click

from frontend.cli.address import Address
from frontend.cli.background import Background, last_lines
from frontend.cli.client import Client, Lost, NoServer, Refused, segment
from frontend.cli.waiting import Waiting
from frontend.config_sources import default_name

_POLL_SECONDS = 0.1
_LOAD_SECONDS = 3600.0  # the server has a limit of its own
_MARGIN_SECONDS = 30.0  # beyond the time to load a model: to start, and to compile it


def ensure_served(client: Client, source: str, config: Path | None) -> str:
    """The name under which the server serves `source`: a name, or a path of a model on this machine.

    Starts a server if none runs and the address was not given. Raises ClickException.
    """
    name = default_name(source) if is_path(source) or source.startswith("synthetic") else source
    try:
        known = is_served(client, name)
    except NoServer:
        if client.address.named or not client.address.is_here:
            raise
        _start(client, source, name, config)
        return name
    if not known:
        _add(client, source, name)
    return name


def is_path(source: str) -> bool:
    """Whether it can only be a file or folder, as `nacelle serve` reads it."""
    return source.startswith((".", "/", "~")) or source.endswith(".gguf")


def is_served(client: Client, name: str) -> bool:
    try:
        client.get(f"/v1/models/{segment(name)}")
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
    return True


def _start(client: Client, source: str, name: str, config: Path | None) -> None:
    address = client.address
    background = Background(address.port)
    with background.starting():
        try:
            known = is_served(client, name)  # another command may have started one
        except NoServer:
            pull_first(address, source)
            _start_and_wait(client, background, source, name, config)
            return
    if not known:
        _add(client, source, name)


def pull_first(address: Address, source: str) -> None:
    """Fetch a model of the catalogue here, where its progress can be seen. Raises ModelError."""
    if is_path(source) or source.startswith("synthetic"):
        return
    from frontend.cli.terminal import TerminalReporter
    from frontend.models.catalogue import load_catalogue

    if source not in load_catalogue():
        return
    from frontend.models.resolve import preparer_for

    with TerminalReporter() as reporter:
        preparer_for(address.settings.store, reporter).pull(source)


def _start_and_wait(
    client: Client, background: Background, source: str, name: str, config: Path | None
) -> None:
    address = client.address
    arguments = ["serve", _absolute(source), *_options(address, config)]
    written = background.log.stat().st_size if background.log.exists() else 0
    process = background.start(arguments, address.url)
    budget = address.settings.load_seconds + _MARGIN_SECONDS
    with Waiting(f"starting a server with {name}"):
        _wait_until_ready(client, process, name, background.log, written, budget)
    click.echo(
        f"Started a server at {address.url}, which keeps running (nacelle stop --server ends it).\n"
        f"Its log is {background.log}",
        err=True,
    )


def _options(address: Address, config: Path | None) -> list[str]:
    """What the server must be told besides the environment, which it inherits."""
    options = ["--host", address.settings.host, "--port", str(address.port)]
    if config is not None:
        options += ["--config", str(config.absolute())]
    return options


def _absolute(source: str) -> str:
    return str(Path(source).expanduser().absolute()) if is_path(source) else source


def _wait_until_ready(
    client: Client,
    process: "subprocess.Popen[bytes]",
    name: str,
    log: Path,
    written: int,
    budget: float,
) -> None:
    deadline = time.monotonic() + budget
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = "\n".join(f"  {line}" for line in last_lines(log, written))
            raise click.ClickException(f"the server did not start; its log ends with\n{lines}")
        try:
            client.get(f"/ready/{segment(name)}")
            return
        except (NoServer, Refused, Lost):
            time.sleep(_POLL_SECONDS)
    raise click.ClickException(f"{name} was not ready within {budget:.0f} s; see {log}")


def _add(client: Client, source: str, name: str) -> None:
    """Have a running server serve another model of the store."""
    pull_first(client.address, source)
    with Waiting(f"loading {name}"):
        try:
            client.post("/admin/models/load", {"model": name}, _LOAD_SECONDS)
        except Refused as refused:
            if refused.status != 404:
                raise
            raise click.ClickException(
                f"the server at {client.address.url} does not serve {name}; start one that does: "
                f"nacelle serve {source} --port PORT"
            ) from refused
