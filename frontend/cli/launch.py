"""`nacelle launch`: writes the configuration of a coding agent for a server and a model, and starts it."""

import contextlib
import difflib
import os
import shlex
import shutil
import sys
import time
from pathlib import Path

import click

from frontend.cli.abilities import check_chats, generates_text, tasks_of
from frontend.cli.address import SERVER_PARAMS, Address, find_server
from frontend.cli.agents.jsonc import UnreadableJson
from frontend.cli.agents.known import AGENTS, KEY_VARIABLE, OTHER_NAMES, Agent, Start, Target
from frontend.cli.choices import complete_choice
from frontend.cli.client import Client, NoServer, Refused, segment
from frontend.cli.completion import complete_model
from frontend.cli.serving import ensure_served
from frontend.cli.styles import styled
from frontend.cli.tables import print_table
from frontend.cli.usage import WrongUsage
from frontend.config_values import suggestion
from frontend.shortened import quoted

_LITTLE_CONTEXT = 32_768  # tokens; the instructions and tools of agents take 10,000 and more
_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command(
    params=[
        click.Argument(
            ["agent"], required=False, metavar=f"[{'|'.join(AGENTS)}]", shell_complete=complete_choice(AGENTS)
        ),
        click.Option(
            ["-m", "--model"],
            metavar="MODEL",
            shell_complete=complete_model,
            help="Model to use. Default: the server's, if it serves one.",
        ),
        click.Option(
            ["--print", "print_only"], is_flag=True, help="Print the new file instead of writing it."
        ),
        click.Option(["-y", "--yes"], is_flag=True, help="Write without asking."),
        click.Option(["--exec", "execute"], is_flag=True, help="Start the agent afterwards."),
        *SERVER_PARAMS,
    ]
)
def launch(
    agent: str | None,
    model: str | None,
    print_only: bool,
    yes: bool,
    execute: bool,
    url: str | None,
    config: Path | None,
) -> None:
    """Configure a coding agent for this server, and start it.

    Shows the change of the agent's file and asks before it is made. Without an agent, lists those known.
    """
    if agent is None:
        print_table(
            ("AGENT", "NAME", "FILE"),
            [(name, known.title, str(known.file(os.environ))) for name, known in AGENTS.items()],
        )
        return
    known = _find(agent)
    address = find_server(url, config)
    target = _target(Client(address), model, config, start=execute)
    file = known.file(os.environ)
    old = _read(file)
    try:
        new = known.text(old, target)
    except UnreadableJson as error:
        raise click.ClickException(f"cannot read {file}: {error}; correct it first") from error
    if print_only:
        click.echo(new, nl=False)
        return
    if new == old:
        click.echo(f"{file} needs no change.")
    else:
        _show_difference(file, old, new)
        _confirm(file, yes)
        _write(file, old, new)
    _start(known, known.start(file, target), address, execute)


def _find(name: str) -> Agent:
    name = OTHER_NAMES.get(name.lower(), name.lower())
    if name not in AGENTS:
        hint = suggestion(name, AGENTS) or f"; choose one of {', '.join(AGENTS)}"
        raise WrongUsage(f"no agent {quoted(name)} is known{hint}")
    return AGENTS[name]


def _target(client: Client, model: str | None, config: Path | None, *, start: bool) -> Target:
    context = None
    try:
        model = model or _only_model(client)
        if start:
            model = ensure_served(client, model, config)
        check_chats(client, model)
        context = _context_length(client, model)
    except NoServer as error:
        if model is None:
            raise
        click.echo(f"Warning: {error.format_message()}", err=True)
    if context is not None and context < _LITTLE_CONTEXT:
        click.echo(
            f"Warning: {model} has a context of {context:,} tokens; coding agents need {_LITTLE_CONTEXT:,} "
            "or more",
            err=True,
        )
    address = client.address
    return Target(f"{address.url}/v1", model, context, address.api_key is not None)


def _context_length(client: Client, model: str) -> int | None:
    """In tokens; None if the server does not know it yet."""
    context: int | None = client.get(f"/v1/models/{segment(model)}").get("max_model_len")
    if context is None:
        with contextlib.suppress(Refused):  # it is unloaded, or only administrators may look
            context = client.get(f"/admin/models/{segment(model)}").get("context_length")
    return context


def _only_model(client: Client) -> str:
    tasks = tasks_of(client)
    served = [str(model["id"]) for model in client.get("/v1/models")["data"]]
    names = [name for name in served if generates_text(tasks.get(name, ""))]
    if len(names) != 1:
        which = f"the server has {', '.join(names)}" if names else "the server has none that generates text"
        raise WrongUsage(f"choose a model with --model; {which}")
    return names[0]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8") if file.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"cannot read {file}: {error}") from error


def _show_difference(file: Path, old: str, new: str) -> None:
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), str(file) if old else "/dev/null", str(file), lineterm=""
    )
    for line in lines:
        colour = _COLOURS.get(line[:1])
        click.echo(styled(line, colour, sys.stdout) if colour else line)


def _confirm(file: Path, yes: bool) -> None:
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise WrongUsage("nothing was written; pass --yes to write, or --print")
    if not click.confirm(f"Write {file}?", default=True):
        raise click.ClickException("nothing was written")


def _write(file: Path, old: str, new: str) -> None:
    """Replace the file as a whole. A link, as dotfiles often are, stays one."""
    real = file.resolve()
    try:
        real.parent.mkdir(parents=True, exist_ok=True)
        if old:
            backup = real.with_name(f"{real.name}.{time.strftime('%Y%m%d-%H%M%S')}.bak")
            shutil.copy2(real, backup)
            click.echo(f"Backup: {backup}")
        partial = real.with_name(f".{real.name}.{os.getpid()}")
        partial.write_text(new, encoding="utf-8")
        if old:
            shutil.copymode(real, partial)
        partial.replace(real)
    except OSError as error:
        raise click.ClickException(f"cannot write {file}: {error.strerror or error}") from error
    click.echo(f"Wrote {file}")


def _start(agent: Agent, start: Start, address: Address, execute: bool) -> None:
    if agent.note:
        click.echo(agent.note)
    if not execute:
        words = [
            f'{name}="{value}"' if "$" in value else f"{name}={shlex.quote(value)}"
            for name, value in start.variables.items()
        ]
        click.echo(f"Start it: {' '.join([*words, shlex.join(start.command)])}")
        if address.api_key and KEY_VARIABLE not in os.environ:
            click.echo(f"Set {KEY_VARIABLE} there to the server's key.")
        return
    path = shutil.which(start.command[0])
    if path is None:
        raise click.ClickException(f"{start.command[0]} is not installed; install it: {agent.install}")
    key = address.api_key or ""
    variables = {
        name: key if value == f"${KEY_VARIABLE}" else value for name, value in start.variables.items()
    }
    environment = {**os.environ, **({KEY_VARIABLE: key} if key else {}), **variables}
    sys.stdout.flush()
    os.execve(path, start.command, environment)  # noqa: S606 - what the user asked for
