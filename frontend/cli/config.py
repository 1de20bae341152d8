"""`nacelle config`: the settings that a server would have, and where each was set."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from frontend.cli.notes import print_notes
from frontend.cli.options import config_option, layer_of, options_of
from frontend.cli.styles import styled
from frontend.cli.tables import aligned
from frontend.config import ModelSettings, Settings
from frontend.config_environment import PREFIX
from frontend.config_found import gather_here
from frontend.config_sources import Gathered, Layer, default_name, settings_of, value_of
from frontend.config_values import Given, expanded
from frontend.models.by_name import explain_unknown
from frontend.models.catalogue import load_catalogue
from frontend.models.errors import ModelError
from frontend.models.inventory import Inventory
from frontend.models.manifest import canonical
from frontend.models.options import SYNTHETIC
from frontend.models.root import store_root
from frontend.models.sources.asked import path_exists
from frontend.spool_folder import spool_folder

_DEFAULT = "default"
_ARGUMENT = "MODEL"
_HIDDEN = "(hidden)"
# Settings whose default depends on the machine.
_DEFAULT_PATHS: dict[str, Callable[[None], Path]] = {"store": store_root, "spool": spool_folder}


class Effective(NamedTuple):
    """One setting. `value` is None for a secret that is set."""

    name: str
    value: Any
    origin: str
    is_secret: bool

    @property
    def kind(self) -> str:
        """What kind of source the value is from."""
        if self.origin == _DEFAULT:
            return _DEFAULT
        if self.origin.startswith("--"):
            return "option"
        if self.origin == _ARGUMENT:
            return "argument"
        if self.origin.startswith(PREFIX):
            return "variable"
        return "dotenv" if self.origin.startswith(".env ") else "file"

    @property
    def shown(self) -> str:
        """The value for people."""
        if self.is_secret and self.kind != _DEFAULT:
            return _HIDDEN
        if self.value is None or self.value in ([], {}):
            return "-"
        if isinstance(self.value, bool):
            return "on" if self.value else "off"
        if isinstance(self.value, float):
            return f"{self.value:g}"
        return self.value if isinstance(self.value, str) else msgspec.json.encode(self.value).decode()


def _hidden(options: list[click.Option]) -> list[click.Option]:
    for option in options:
        option.hidden = True
    return options


@click.command(
    params=[
        click.Argument(["models"], nargs=-1, metavar="[MODEL]..."),
        click.Option(["--set", "only_set"], is_flag=True, help="Leave out what has its default."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."),
        *_hidden(options_of(ModelSettings)),
        *_hidden(options_of(Settings)),
        config_option,
    ],
    epilog="Takes every option of nacelle serve, to show what it would change.",
)
def config(
    models: tuple[str, ...], only_set: bool, as_json: bool, config: Path | None, **options: Any
) -> None:
    """Show the settings that nacelle serve would use, and where each was set."""
    gathered = gather_here(
        layer_of(Settings, options), layer_of(ModelSettings, options), models, config, os.environ
    )
    print_notes(gathered.notes)
    _check_models(gathered)
    server = effective(Settings, gathered.server, only_set)
    of_models = [effective(ModelSettings, _named(layer), only_set) for layer in gathered.models]
    if as_json:
        document = {"server": _document(server), "models": [_document(model) for model in of_models]}
        click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
        return
    _print("[server]", server)
    for model in of_models:
        _print("[[models]]", model)


def effective(struct: type[msgspec.Struct], layer: Layer, only_set: bool = False) -> list[Effective]:
    """The settings of a Struct, of which `layer` has those that are set. Raises ConfigError."""
    found = []
    for setting in settings_of(struct):
        if setting.name == "models" or setting.environment_only:
            continue
        secret = setting.traits.secret
        if given := layer.get(setting.name):
            value = value_of(setting, given)
            found.append(Effective(setting.name, None if secret else value, given.origin, secret))
        elif not only_set:
            default = _DEFAULT_PATHS.get(setting.name)
            value = setting.default if default is None else str(default(None))
            found.append(Effective(setting.name, value, _DEFAULT, secret))
    return found


def _check_models(gathered: Gathered) -> None:
    """Raises ModelError for a MODEL argument that nacelle serve would not find."""
    given = gathered.server.get("store")
    store = Inventory(store_root(None if given is None else str(given.value)))
    catalogue = load_catalogue()
    for layer in gathered.models:
        source = str(layer["source"].value)
        if layer["source"].origin != _ARGUMENT or "remote" in layer or "registry_url" in gathered.server:
            continue
        if canonical(source) in catalogue or source.partition(":")[0] == SYNTHETIC:
            continue
        if not (
            path_exists(str(expanded(source, _ARGUMENT)))
            or store.installed_named(source)
            or store.installed_from(source)
        ):
            raise ModelError(explain_unknown(source, catalogue, store))


def _named(layer: Layer) -> Layer:
    """With the name that the model gets if none is set."""
    source = layer["source"]
    return {"name": Given(default_name(str(source.value)), source.origin), **layer}


def _document(settings: Iterable[Effective]) -> dict[str, Any]:
    return {
        one.name: {"value": one.value, "kind": one.kind, "origin": one.origin}
        | ({"secret": True} if one.is_secret else {})
        for one in settings
    }


def _print(title: str, settings: list[Effective]) -> None:
    click.echo(styled(title, "bold", sys.stdout))
    if not settings:
        click.echo("  all settings have their defaults")
        return
    rows = aligned([(f"  {one.name}", one.shown, one.origin) for one in settings])
    for one, row in zip(settings, rows, strict=True):
        click.echo(styled(row, "dim", sys.stdout) if one.kind == _DEFAULT else row)
