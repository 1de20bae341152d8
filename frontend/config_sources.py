"""Merges settings from the command line, the environment, `.env` and a TOML file.

Precedence, highest first: command-line option, NACELLE_* variable, `.env`, settings file. One exception: what
a [[models]] entry says of its model wins over variables, which speak of all models.
Every source becomes a mapping from a Struct's field names to `Given` values. Each value is converted on its
own, so that an error names the setting and where its value was set.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple, TypeVar, get_origin, get_type_hints

import msgspec

from frontend.config import NAME_CHARACTERS, ConfigError, ModelSettings, Settings
from frontend.config_dotenv import DOTENV, read_dotenv_variables
from frontend.config_environment import PREFIX, Note, read_environment
from frontend.config_file import NAME_TABLES, read_file
from frontend.config_values import Given, Traits, convert, similar, split_list
from frontend.shortened import quoted, shown_path

Layer = dict[str, Given]
Built = TypeVar("Built", bound=msgspec.Struct)


# ORG/NAME or ORG/NAME:TAG, as models of hubs are called; such a file or folder wins.
_HUB_NAME = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._@+-]*/[A-Za-z0-9][A-Za-z0-9._@+-]*(:[A-Za-z0-9._-]+)?(?<!\.gguf)"
)


class Setting(NamedTuple):
    """One field of a settings Struct, as command-line options and help texts need it."""

    name: str
    type: Any  # without the outer Annotated
    description: str
    default: Any
    option: str
    variable: str
    metavar: str | None
    environment_only: bool
    traits: Traits


@functools.cache
def settings_of(struct: type[msgspec.Struct]) -> list[Setting]:
    """The settings that a Struct declares, in order of declaration."""
    hints = get_type_hints(struct, include_extras=True)
    # A field without a description is no setting.
    described = [
        field for field in msgspec.structs.fields(struct) if get_origin(hints[field.name]) is Annotated
    ]
    return [_setting(field, hints[field.name]) for field in described]


def _setting(field: msgspec.structs.FieldInfo, hint: Any) -> Setting:
    # Nested Annotated types are flattened: ranges first, the description last.
    *constraints, meta = hint.__metadata__
    base = Annotated[(hint.__origin__, *constraints)] if constraints else hint.__origin__
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    extra = meta.extra or {}
    return Setting(
        name=field.name,
        type=base,
        description=meta.description,
        default=None if default is msgspec.NODEFAULT else default,
        option=extra.get("option", "--" + field.name.replace("_", "-")),
        variable=PREFIX + field.name.upper(),
        metavar=extra.get("metavar"),
        environment_only=extra.get("environment_only", False),
        traits=Traits(**{name: extra[name] for name in Traits._fields if name in extra}),
    )


def value_of(setting: Setting, given: Given) -> Any:
    """The setting's value. Raises ConfigError."""
    return convert(given, setting.type, setting.traits)


class Gathered(NamedTuple):
    """The values that are set, unconverted, by setting. Each names its origin."""

    server: Layer
    models: list[Layer]
    notes: list[Note]


def load_settings(
    server_options: Layer | None = None,
    model_options: Layer | None = None,
    models: Iterable[str] = (),
    config: Path | None = None,
    environ: Mapping[str, str] = MappingProxyType({}),
    dotenv: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Settings, list[Note]]:
    """Merge all sources. Returns the settings, and what the operator should know. Raises ConfigError.

    `models` are the MODEL arguments of the command line: each is the name of a [[models]] entry, or a source.
    A model option on the command line applies to every model; a model variable in the environment applies to
    every model whose [[models]] entry does not set it. `dotenv` has the variables of `.env`.
    """
    gathered = gather_settings(server_options, model_options, models, config, environ, dotenv)
    settings = [_model(model) for model in gathered.models]
    return _build(Settings, gathered.server, models=_unique(settings)), gathered.notes


def gather_settings(
    server_options: Layer | None = None,
    model_options: Layer | None = None,
    models: Iterable[str] = (),
    config: Path | None = None,
    environ: Mapping[str, str] = MappingProxyType({}),
    dotenv: Mapping[str, str] = MappingProxyType({}),
) -> Gathered:
    """As `load_settings`, but every value as it was given. Raises ConfigError."""
    variables, notes = _variables(environ, dotenv)
    file = read_file(config, _place_of) if config else {}
    server = {
        **_from_table(file.get("server", {}), Settings, f"{shown_path(config)} [server]"),
        **_name_tables(file, shown_path(config)),
        **_from_environment(Settings, variables),
        **(server_options or {}),
    }
    named = server.pop("models", None)
    entries = [
        _model_entry(entry, f"{shown_path(config)} [[models]] {number}")
        for number, entry in enumerate(file.get("models", []), 1)
    ]
    sources = [Given(model.strip(), "MODEL") for model in models]
    if not sources and named:
        sources = [named._replace(value=item) for item in split_list(str(named.value))]
    chosen = [_entry(source, entries) for source in sources] or entries
    defaults = _from_environment(ModelSettings, variables)
    _refuse_shared_name(chosen, {**defaults, **(model_options or {})})
    return Gathered(server, [{**defaults, **entry, **(model_options or {})} for entry in chosen], notes)


def _variables(environ: Mapping[str, str], dotenv: Mapping[str, str]) -> tuple[dict[str, Given], list[Note]]:
    """The variables of both, those of the environment first."""
    settings = frozenset(_VARIABLES)
    found, notes = read_environment(environ, settings)
    weaker = read_dotenv_variables(dotenv, settings)
    return {
        **{name: Given(value, f"{DOTENV} {name}") for name, value in weaker.variables.items()},
        **{name: Given(value, name) for name, value in found.items()},
    }, [*notes, *weaker.notes]


def _name_tables(file: dict[str, Any], shown: str) -> Layer:
    """The settings of the server that may be tables of their own."""
    for name in NAME_TABLES:
        if name in file and name in file.get("server", {}):
            raise ConfigError(f"{shown}: {name} is both in [server] and in [{name}]; write it once")
    return {name: Given(file[name], f"{shown} [{name}]") for name in NAME_TABLES if name in file}


def model_of_table(table: dict[str, Any], where: str) -> ModelSettings:
    """One model, as a table of a settings file describes it. Raises ConfigError, which names `where`."""
    return _model(_model_entry(table, where))


def _place_of(key: str) -> str:
    """Where a key at the top of a file belongs."""
    if key in _keys_of(Settings):
        return f"write {key} below a line with [server]"
    if key in _keys_of(ModelSettings):
        return f"write {key} below a line with [[models]]"
    table = similar(key, ("server", "models", *NAME_TABLES))
    return f"did you mean {table!r}?" if table else "expected [server], [[models]], [aliases] or [variants]"


def _from_table(table: dict[str, Any], struct: type[msgspec.Struct], where: str) -> Layer:
    known = _keys_of(struct)
    for key in table:
        if key not in known:
            from frontend.config_names import guess  # hardly anybody needs it

            meant = guess(key, known).setting
            hint = f"; did you mean {meant!r}?" if meant else "; see nacelle serve --help"
            raise ConfigError(f"{where}: unknown setting {quoted(key)}{hint}")
    return {key: Given(value, f"{where} {key}") for key, value in table.items()}


def _keys_of(struct: type[msgspec.Struct]) -> frozenset[str]:
    """The settings that a table of the settings file can hold."""
    return frozenset(
        setting.name
        for setting in settings_of(struct)
        if not setting.environment_only and setting.name != "models"
    )


def _model_entry(table: dict[str, Any], where: str) -> Layer:
    layer = _from_table(table, ModelSettings, where)
    if "source" not in table:
        if "remote" not in table:
            raise ConfigError(f"{where}: source is missing")
        if "name" not in table:
            raise ConfigError(f"{where}: name is missing; a model of another server needs one")
        from frontend.models.options import REMOTE

        layer["source"] = Given(REMOTE, f"{where} remote")
    return layer


# Those that have a variable: NACELLE_MODELS lists the sources, so there is no NACELLE_SOURCE.
_VARIABLES = [
    setting.name
    for struct in (Settings, ModelSettings)
    for setting in settings_of(struct)
    if setting.name != "source"
]


def _from_environment(struct: type[msgspec.Struct], variables: Mapping[str, Given]) -> Layer:
    return {
        setting.name: variables[setting.variable]
        for setting in settings_of(struct)
        if setting.variable in variables
    }


def _entry(source: Given, entries: list[Layer]) -> Layer:
    for entry in entries:
        if _name(entry) == source.value:
            return entry
    return {"source": source}


def _refuse_shared_name(models: list[Layer], shared: Layer) -> None:
    if "name" in shared and len(models) > 1:
        raise ConfigError(f"{shared['name'].origin}: {len(models)} models cannot share one name")


def _model(layer: Layer) -> ModelSettings:
    from frontend.models.options import check_options  # not needed by commands without models

    named = {"name": Given(_name(layer), layer["source"].origin), **layer}
    model = _build(ModelSettings, named, explicit=frozenset(layer))
    check_options(model)
    return model


def _name(layer: Layer) -> str:
    return str(layer["name"].value) if "name" in layer else default_name(str(layer["source"].value))


def default_name(source: str) -> str:
    """The default name of a model: that of the store, as `nacelle list` shows it, or else its source without
    folder and suffix."""
    if source.startswith("synthetic"):
        return "synthetic"
    source = source.removesuffix(":latest")
    if _HUB_NAME.fullmatch(source) and not _is_there(source):
        return source[:NAME_CHARACTERS]
    stem = Path(source).name.removesuffix(".gguf") or Path(source).resolve().name
    return re.sub(r"[^A-Za-z0-9._:@+-]+", "-", stem).strip("-._:@+")[:NAME_CHARACTERS] or "model"


def is_path(source: str) -> bool:
    """Whether it can only be a file or folder, as `nacelle serve` reads it."""
    return source.startswith((".", "/", "~")) or (source.endswith(".gguf") and "://" not in source)


def no_such_path(source: object) -> str:
    return f"there is no file or folder {shown_path(source)}; check the path"


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _unique(models: list[ModelSettings]) -> list[ModelSettings]:
    if not models:
        return []
    from frontend.models.options import served_names

    seen: dict[str, ModelSettings] = {}
    for model in models:
        for name in served_names(model):
            if name in seen:
                raise ConfigError(
                    f"two models have the name {name!r} ({seen[name].source} and {model.source}): "
                    "set different names in a settings file"
                )
            seen[name] = model
    return models


def _build(struct: type[Built], layer: Layer, **ready: Any) -> Built:
    settings = {setting.name: setting for setting in settings_of(struct)}
    return struct(**{name: value_of(settings[name], given) for name, given in layer.items()}, **ready)
