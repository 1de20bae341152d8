"""Prepares a model that is on this machine for a server that is running. Nothing is fetched for it."""

import msgspec

from frontend.config import ConfigError, ModelSettings, Settings
from frontend.config_sources import default_name
from frontend.errors import BadRequest, ModelNotFound
from frontend.models.errors import ModelError
from frontend.models.reporter import Silent
from frontend.models.resolve import PreparedModel, preparer_for

DEFAULT_KEEP_ALIVE_SECONDS = 300.0  # Ollama keeps models as long


def on_demand(source: str, name: str | None = None) -> ModelSettings:
    """The settings of a model that nobody named at the start. Raises BadRequest for a name that is none."""
    settings = ModelSettings(
        name=name or default_name(source),
        source=source,
        preload=False,
        keep_alive_seconds=DEFAULT_KEEP_ALIVE_SECONDS,
    )
    try:
        return msgspec.convert(msgspec.structs.asdict(settings), ModelSettings)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{name or source!r} cannot be a model's name: {error}", "name") from None


def prepare_installed(settings: Settings, model: ModelSettings) -> list[PreparedModel]:
    """The model and its adapters. Takes as long as the conversion of a file that is new.

    Raises ModelNotFound where it would have to be fetched, or cannot be served.
    """
    preparer = preparer_for(settings.store, Silent())
    if not preparer.has(model.source):
        raise ModelNotFound(f"{model.source} is not on this machine; pull it first", "model")
    try:
        return preparer.prepare_all(model)
    except (ModelError, ConfigError) as error:
        raise ModelNotFound(f"{model.source} cannot be served: {error}", "model") from error
