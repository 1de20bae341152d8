"""Has a server serve a model: starts one if none runs, and adds the model if the server lacks it."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from frontend.cli.address import Address
from frontend.cli.client import Client, Lost, NoServer, Refused, segment
from frontend.cli.terminal import TerminalReporter
from frontend.cli.waiting import Waiting
from frontend.config_sources import default_name, is_path, no_such_path
from frontend.config_values import suggestion

if TYPE_CHECKING:
    import subprocess

    from frontend.cli.background import Background

_POLL_SECONDS = 0.1
_LOAD_SECONDS = 3600.0  # the server has a limit of its own
_MARGIN_SECONDS = 30.0  # beyond the time to load a model: to start, and to compile it


def ensure_served(client: Client, source: str, config: Path | None) -> str:
    """The name under which the server serves `source`: a name, or a path of a model on this machine.

    Starts a server if none runs and the address was not given. Raises ClickException.
    """
    name = _name_of(source)
    try:
        known = is_served(client, name)
    except NoServer:
        if client.address.named or not client.address.is_here:
            raise
        return _start(client, source, name, config)
    return name if known else _add(client, source, name)


def _name_of(source: str) -> str:
    return default_name(source) if is_path(source) or source.startswith("synthetic") else source


def is_served(client: Client, name: str) -> bool:
    try:
        client.get(f"/v1/models/{segment(name)}")
    except Refused as refused:
        if refused.status == 404:
            return False
        raise
    return True


def _start(client: Client, source: str, name: str, config: Path | None) -> str:
    from frontend.cli.background import Background  # not needed where a server runs

    address = client.address
    background = Background(address.port)
    with background.starting():
        try:
            known = is_served(client, name)  # another command may have started one
        except NoServer:
            source = _pull_first(address, source)
            name = _name_of(source)
            _start_and_wait(client, background, source, name, config)
            return name
    return name if known else _add(client, source, name)


def _pull_first(address: Address, source: str) -> str:
    """Fetch a model of the catalogue, a hub or a URL here, where its progress can be seen. Returns what to
    serve. Raises ModelError."""
    if is_path(source) or source.startswith("synthetic") or source in _configured(address):
        return source
    from frontend.models.catalogue import load_catalogue

    if source not in load_catalogue() and "/" not in source:  # a name in the store
        return source
    from frontend.models.inventory import Inventory
    from frontend.models.pulling import Order, pull
    from frontend.models.root import store_root
    from frontend.shortened import shown_source

    store = Inventory(store_root(address.settings.store))
    stored = store.installed_named(source) or store.installed_from(shown_source(source))
    if stored and (stored.is_current or source not in load_catalogue()):
        return stored.name

    with TerminalReporter() as reporter:
        return pull(Order(source, address.settings.store, local=True), reporter).name


def _configured(address: Address) -> set[str]:
    """The models that the settings list."""
    return {model.name for model in address.settings.models}


def _start_and_wait(
    client: Client, background: "Background", source: str, name: str, config: Path | None
) -> None:
    address = client.address
    if is_path(source) and not Path(source).expanduser().exists():
        raise click.ClickException(no_such_path(source))
    listed = name in _configured(address)  # then all models of the settings are served
    arguments = ["serve", *([] if listed else [_absolute(source)]), *_options(address, config)]
    written = background.log.stat().st_size if background.log.exists() else 0
    process = background.start(arguments, address.url)
    budget = address.settings.load_seconds + _MARGIN_SECONDS
    try:
        with Waiting(f"starting a server with {name}"):
            _wait_until_loaded(client, process, name, background.log, written, budget)
    except BaseException:  # Ctrl-C, too: nobody would know that it runs
        process.terminate()
        raise
    click.echo(
        f"Started a server at {address.url}, which keeps running (nacelle stop --server ends it).\n"
        f"Its log is {background.log}",
        err=True,
    )


def _options(address: Address, config: Path | None) -> list[str]:
    """What the server must be told besides the environment, which it inherits."""
    options = ["--host", address.settings.host, "--port", str(address.port), "--serve-store"]
    if config is not None:
        options += ["--config", str(config.absolute())]
    return options


def _absolute(source: str) -> str:
    return str(Path(source).expanduser().absolute()) if is_path(source) else source


def _wait_until_loaded(
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
            from frontend.cli.background import last_lines

            lines = "\n".join(f"  {line}" for line in last_lines(log, written))
            raise click.ClickException(f"the server did not start; its log ends with\n{lines}")
        try:
            if _load(client, name):
                return
            raise click.ClickException(f"the server at {client.address.url} does not serve {name}; see {log}")
        except (NoServer, Lost):  # it does not listen yet, or has just ended
            time.sleep(_POLL_SECONDS)
    raise click.ClickException(f"{name} was not ready within {budget:.0f} s; see {log}")


def _add(client: Client, source: str, name: str) -> str:
    """Have a running server load a model of the store, or fetch it first. Returns the model's name there."""
    with Waiting(f"loading {name}"):
        if _load(client, name):
            return name
    if is_path(source):
        is_shared = client.address.is_here  # then the store is as well, as a rule
        remedy = f"pull {source}, then nacelle run {name}" if is_shared else f"serve {source} --port PORT"
        raise click.ClickException(
            f"the server at {client.address.url} does not serve {name}, and cannot read files of clients; "
            f"write nacelle {remedy}"
        )
    _check_not_stored_here(client, name)
    name = _download(client, source)
    with Waiting(f"loading {name}"):
        if _load(client, name):
            return name
    raise click.ClickException(
        f"the server at {client.address.url} has fetched {name}, but does not serve it"
    )


def _check_not_stored_here(client: Client, name: str) -> None:
    """Raises ClickException for a model of the store that the server cannot serve: to fetch is no remedy."""
    from frontend.models.inventory import Inventory  # what follows is needed only here
    from frontend.models.root import store_root

    url = client.address.url
    stored = Inventory(store_root(client.address.settings.store)).installed_named(name)
    if stored is None or not client.address.is_here:
        return
    if stored.is_current:
        raise click.ClickException(
            f"the server at {url} has no {name}: it uses another store than this command"
        )
    raise click.ClickException(
        f"{name} must be converted again for this version before the server at {url} can serve it; "
        f"write nacelle pull {stored.manifest.source}"
    )


def _similar(name: str) -> str:
    """A phrase that suggests the model of the catalogue that was meant, if any is similar."""
    from frontend.models.catalogue import load_catalogue

    return suggestion(name, load_catalogue())


def _load(client: Client, name: str) -> bool:
    """Whether the server has the model, which it then has loaded."""
    try:
        client.post("/admin/models/load", {"model": name}, _LOAD_SECONDS)
    except Refused as refused:
        if refused.status == 404:
            return False
        if refused.status == 403:
            raise click.ClickException(
                f"the server at {client.address.url} has no model {name!r} for you, and does not load it: "
                f"{refused.message}"
            ) from refused
        raise
    return True


def _download(client: Client, source: str) -> str:
    """Let the server fetch a model, and show the progress. Returns the model's name."""
    try:
        download = client.post("/admin/downloads", {"source": source})
    except Refused as refused:
        if refused.status in (400, 404) and "/" not in source and ":" not in source:
            raise click.ClickException(
                f"neither the server at {client.address.url} nor the catalogue has a model {source!r}"
                + (
                    _similar(source)
                    or "; see nacelle list, or name ORG/NAME of a model hub, a URL, or a file"
                )
            ) from refused
        raise
    changes = client.events("GET", f"/admin/downloads/{download['id']}/events")
    with TerminalReporter() as reporter:
        step = ""
        for download in changes:
            if download["step"] and download["step"] != step:
                step = download["step"]
                reporter.step(step)
            if download["done_bytes"]:
                reporter.progress(download["done_bytes"], download["total_bytes"])
        if download["state"] != "done":
            raise click.ClickException(
                download["error"] or f"the download of {source} was {download['state']}"
            )
    return str(download["model"])
