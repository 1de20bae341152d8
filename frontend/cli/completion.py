"""`nacelle completion`, and the names of models that a shell completes."""

import os
import re
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from frontend.config import ConfigError

_ENTRY = re.compile(r"^\[([\w.-]+)\]$", re.MULTILINE)
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
    kind = get_completion_class(shell)
    root = click.get_current_context().find_root()
    assert kind is not None
    click.echo(kind(root.command, {}, "nacelle", "_NACELLE_COMPLETE").source())


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
    """The models of catalogue and store."""
    return [CompletionItem(name) for name in sorted(model_names()) if name.startswith(incomplete)]


def model_names() -> set[str]:
    """The names of the catalogue and of the models in the store, as far as they can be read."""
    from frontend.models.inventory import Inventory  # what follows is needed only here
    from frontend.models.root import store_root

    catalogue = Path(__file__).parent.parent / "models" / "catalogue.toml"
    names = set(_ENTRY.findall(catalogue.read_text()))
    try:
        return names | {
            one.name for one in Inventory(store_root(os.environ.get("NACELLE_STORE"))).installed()
        }
    except (OSError, ConfigError):
        return names
