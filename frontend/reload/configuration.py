"""What a server is asked to do: its settings and models, prepared at the start and for each reload."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from frontend.access.authentication import is_authenticated
from frontend.access.rules import access_rules
from frontend.config import ConfigError, ModelSettings, Settings, check_bind, memory_budgets
from frontend.config_environment import Note
from frontend.config_found import Found, find_settings
from frontend.config_sources import Layer, load_settings
from frontend.http.tls import context_of
from frontend.models.errors import ModelError
from frontend.models.inventory import Inventory
from frontend.models.reporter import Reporter, Silent
from frontend.models.resolve import PreparedModel, Preparer, preparer_for
from frontend.models.root import store_root
from frontend.remote.backend import backends_of, base_url, key_in
from frontend.residency.adding import DEFAULT_KEEP_ALIVE_SECONDS
from frontend.routing.names import Names, check_names


class Configuration(msgspec.Struct, frozen=True):
    settings: Settings
    prepared: list[PreparedModel]  # adapters included
    notes: list[Note]  # that the operator should know


class ConfigurationSource:
    """The command line of a server, with all that it refers to. Not for use by several threads at once."""

    def __init__(
        self,
        server_options: Layer,
        model_options: Layer,
        models: tuple[str, ...],
        config: Path | None,
        environ: Mapping[str, str],
    ) -> None:
        """The sources of `load_settings`; `config` is the value of --config."""
        self._server_options = server_options
        self._model_options = model_options
        self._models = models
        self._config = config
        self._environ = environ
        self._used: Path | None = None  # the settings file
        self._named_models = False  # the settings that were read last did

    def settings(self) -> tuple[Settings, list[Note]]:
        """What is set now. Without any model, the whole store is to be served. Raises ConfigError."""
        found = find_settings(self._config, self._environ)
        if self._used is not None and found.config is None:
            raise ConfigError(f"{self._used} is gone, or may no longer be used; restore it, or restart")
        self._used = found.config
        settings, notes = self._load(found, self._models)
        if not settings.models and not settings.serve_store and settings.registry_url is None:
            if self._named_models:  # an editor may have emptied the file to write it anew
                where = found.config or "the settings"
                raise ConfigError(f"{where} would remove every model; name one, or set serve_store = true")
            settings = msgspec.structs.replace(settings, serve_store=True)
            if not stored_names(settings):
                raise ConfigError(
                    "nothing to serve: the store has no models; name one, as in nacelle serve smollm2, "
                    "or first run nacelle pull smollm2"
                )
        check_bind(settings, is_authenticated=is_authenticated(settings))
        access_rules(settings)
        context_of(settings)
        memory_budgets(settings)
        if settings.registry_url is not None:
            base_url(settings.registry_url, "registry_url")
            key_in(settings.registry_api_key_env, "registry_api_key_env")
        for model in settings.models:
            backends_of(model)  # notices a key that is missing
        self._named_models = bool(settings.models)
        return settings, [*found.notes, *notes]

    def prepare(self, settings: Settings, reporter: Reporter) -> Configuration:
        """Find, fetch and convert the models. Raises ConfigError or ModelError."""
        return self._prepared(settings, preparer_for(settings.store, reporter), Silent())

    def again(self) -> Configuration:
        """Both, for a server that runs: nothing is fetched. Raises ConfigError or ModelError."""
        settings, _ = self.settings()
        preparer = preparer_for(settings.store, Silent())
        for model in settings.models:
            if not preparer.has(model.source):
                raise ModelError(f"{model.source} is not on this machine; run nacelle pull {model.source}")
        return self._prepared(settings, preparer, Silent())

    def _prepared(self, settings: Settings, preparer: Preparer, silent: Reporter) -> Configuration:
        stored, notes = self._stored(settings) if settings.serve_store else ([], [])
        check_names(
            Names.of(settings),
            settings.models,
            [model.name for model in stored],
            others_may_come=settings.registry_url is not None,
        )
        prepared = [one for model in settings.models for one in preparer.prepare_all(model)]
        quiet = preparer_for(settings.store, silent)
        for model in stored:
            try:
                prepared += quiet.prepare_all(model)
            except (ModelError, ConfigError) as error:  # the others can be served all the same
                notes.append(Note(logging.WARNING, f"{model.name} of the store is not served: {error}"))
        return Configuration(settings, prepared, notes)

    def _stored(self, settings: Settings) -> tuple[list[ModelSettings], list[Note]]:
        """The models of the store that no setting names, with the settings that apply to all models."""
        names = unnamed(settings, stored_names(settings))
        if not names:
            return [], []
        found = find_settings(self._config, self._environ)
        loaded, _ = self._load(found._replace(config=None), names)
        return [_on_demand(model) for model in loaded.models], []

    def _load(self, found: Found, models: "tuple[str, ...] | list[str]") -> tuple[Settings, list[Note]]:
        return load_settings(
            self._server_options, self._model_options, models, found.config, self._environ, found.dotenv
        )


def stored_names(settings: Settings) -> list[str]:
    """The names of the models in the store that can be served as they are."""
    inventory = Inventory(store_root(settings.store))
    return list(dict.fromkeys(one.name for one in inventory.installed() if one.is_current))


def unnamed(settings: Settings, stored: Sequence[str]) -> list[str]:
    """Those names in the store that the settings neither give to a model nor have as its source."""
    named = {name for model in settings.models for name in (model.name, model.source)}
    return [name for name in stored if name not in named]


def _on_demand(model: ModelSettings) -> ModelSettings:
    keep_alive = model.keep_alive_seconds
    return msgspec.structs.replace(
        model,
        preload=False,
        keep_alive_seconds=DEFAULT_KEEP_ALIVE_SECONDS if keep_alive is None else keep_alive,
    )
