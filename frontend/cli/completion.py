"""`nacelle completion`, and the names of models that a shell completes."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from frontend.cli.choices import item
from frontend.config import ConfigError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_ENTRY = re.compile(r"^\[([\w.-]+)\]$", re.MULTILINE)
_SERVER_SECONDS = 2.0  # somebody waits for the names
_IN_MEMORY = ("loading", "ready", "draining")
_HINTS = {
    "bash": 'add to ~/.bashrc:  eval "$(nacelle completion bash)"',
    "zsh": 'add to ~/.zshrc:  eval "$(nacelle completion zsh)"',
    "fish": "run once:  nacelle completion fish > ~/.config/fish/completions/nacelle.fish",
}


@click.command(
    params=[click.Argument(["shell"], type=click.Choice([*_HINTS]), metavar="bash|zsh|fish")],
    epilog="\b\n" + "\n".join(f"{shell}: {hint}" for shell, hint in _HINTS.items()),
)
def completion(shell: str) -> None:
    """Print the script that completes commands in a shell."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    root = click.get_current_context().find_root()
    assert kind is not None
    click.echo(kind(root.command, {}, "nacelle", "_NACELLE_COMPLETE").source())


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """The models of catalogue and store."""
    return _items(model_names(), incomplete)


def complete_stored(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """The models of the store."""
    return _items(_stored(), incomplete)


def complete_source(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """The models of catalogue and store, and files."""
    return [*complete_model(ctx, param, incomplete), item(incomplete, "file")]


def complete_loaded(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":  # noqa: ARG001
    """The models that a running server has in memory; those of the store if none answers."""
    from frontend.cli.address import find_server  # what follows is needed only here
    from frontend.cli.client import Client

    try:
        address = find_server(ctx.params.get("url"), ctx.params.get("config"))
        models = Client(address).get("/admin/models", _SERVER_SECONDS)["models"]
        names = {str(one["name"]) for one in models if one["state"] in _IN_MEMORY}
    except (click.ClickException, ConfigError, KeyError, TypeError):
        names = _stored()
    return _items(names, incomplete)


def _items(names: Iterable[str], incomplete: str) -> "list[CompletionItem]":
    return [item(name) for name in sorted(names) if name.startswith(incomplete)]


def model_names() -> set[str]:
    """The names of the catalogue and of the models in the store, as far as they can be read."""
    catalogue = Path(__file__).parent.parent / "models" / "catalogue.toml"
    return set(_ENTRY.findall(catalogue.read_text())) | _stored()


def _stored() -> set[str]:
    from frontend.models.inventory import Inventory  # what follows is needed only here
    from frontend.models.root import store_root

    try:
        return {one.name for one in Inventory(store_root(os.environ.get("NACELLE_STORE"))).installed()}
    except (OSError, ConfigError):
        return set()
