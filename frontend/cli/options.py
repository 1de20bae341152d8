"""Command-line options, derived from the settings Structs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import msgspec

from frontend.cli.choices import Complete, complete_choice, complete_path
from frontend.config import ConfigError, Settings
from frontend.config_environment import CONFIG_VARIABLE
from frontend.config_sources import Layer, Setting, settings_of, value_of
from frontend.config_values import Given, key_values, split_list

_NOT_OPTIONS = {"models", "source"}  # the MODEL arguments
_DEVICES = ("CPU", "GPU", "NPU")  # what this machine has only OpenVINO knows, which takes seconds
_FOLDERS = {"store", "spool", "session_store"}
_UNITS = {"seconds": "SECONDS", "bytes": "BYTES", "gib": "GIB"}


def _file(_: click.Context, __: click.Parameter, value: str | None) -> Path | None:
    return Path(value.strip()) if value and value.strip() else None


config_option = click.Option(
    ["--config"],
    metavar="FILE",
    envvar=CONFIG_VARIABLE,
    callback=_file,
    shell_complete=complete_path("file"),
    help="Settings file in TOML. Default: nacelle.toml in the current folder, if it is there; none ignores "
    f"that and .env.  [env {CONFIG_VARIABLE}]",
)


class SettingOption(click.Option):
    """The option for one setting. Its value is checked like the setting's value from any other source."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        flag = setting.type is bool
        name = f"{setting.option}/--no-{setting.option.removeprefix('--')}" if flag else setting.option
        super().__init__(
            [name, setting.name],
            type=None if flag else str,
            default=None,
            multiple=get_origin(setting.type) in (list, dict),
            metavar=None if flag else _metavar(setting),
            help=_help(setting),
            shell_complete=_completion(setting),
        )

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """Raises ConfigError."""
        value = super().process_value(ctx, value)
        if value is None or value == ():
            return None
        if get_origin(self.setting.type) is dict:
            return key_values(value, self.setting.option)
        if isinstance(value, tuple):
            if not all(text.strip() for text in value):
                raise ConfigError(f"{self.setting.option}: must not be empty")
            value = [item for text in value for item in split_list(text)]
        return value_of(self.setting, Given(value, self.setting.option))


def options_of(struct: type[msgspec.Struct]) -> list[click.Option]:
    """The options for the settings of a Struct."""
    return [SettingOption(setting) for setting in settings_of(struct) if _has_option(setting)]


def layer_of(struct: type[msgspec.Struct], values: Mapping[str, Any]) -> Layer:
    """The settings of a Struct that are set in `values`, the parsed options of a command."""
    return {
        setting.name: Given(values[setting.name], setting.option)
        for setting in settings_of(struct)
        if values.get(setting.name) is not None
    }


def _has_option(setting: Setting) -> bool:
    return not setting.environment_only and setting.name not in _NOT_OPTIONS


def _completion(setting: Setting) -> Complete | None:
    """What a shell offers for the value; None: nothing."""
    metavar = _metavar(setting)
    if setting.name == "device":
        return complete_choice(_DEVICES)
    if "|" in metavar:
        return complete_choice(metavar.split("|"))
    if setting.name in _FOLDERS or metavar in ("FILE", "FOLDER"):
        return complete_path("file" if metavar == "FILE" else "dir")
    return None


def _metavar(setting: Setting) -> str:
    if setting.metavar:
        return setting.metavar
    if get_origin(setting.type) is Literal:
        return "|".join(get_args(setting.type))
    for unit, metavar in _UNITS.items():
        if setting.name.endswith(unit):
            return metavar
    return "N" if isinstance(setting.default, int) else "TEXT"


def _help(setting: Setting) -> str:
    notes = [f"env {setting.variable}"]
    if get_origin(setting.type) in (list, dict):
        notes.append("repeatable")
    elif setting.default is not None:
        notes.append(f"default {_shown(setting.default)}")
    return f"{setting.description}  [{'; '.join(notes)}]"


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


def option_for(struct: type[msgspec.Struct], name: str) -> click.Option:
    """The option for one setting of a Struct."""
    return next(SettingOption(setting) for setting in settings_of(struct) if setting.name == name)


STORE_OPTION = option_for(Settings, "store")
