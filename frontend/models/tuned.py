"""Applies what `nacelle tune` found to a model's settings. Pure."""

import msgspec

from frontend.config import ConfigError, ModelSettings
from frontend.models.manifest import Tuned
from frontend.models.options import check_options

_PROPERTIES = "properties"
_SETTINGS_OF_PROPERTIES = {"INFERENCE_NUM_THREADS": "threads", "KV_CACHE_PRECISION": "kv_cache_precision"}
_NEVER = {"name", "source", "explicit", _PROPERTIES}
_FIELDS = {field.name: field for field in msgspec.structs.fields(ModelSettings)}


def with_tuned(model: ModelSettings, tuned: Tuned | None) -> ModelSettings:
    """The settings with what was tuned for their device, wherever nobody set something else.

    Whatever does not fit is left out: a tuned value may come from another version, or exclude a setting.
    """
    if tuned is None or tuned.device != model.device:
        return model
    chosen = model
    for name, value in tuned.settings.items():
        if _is_free(model, name):
            chosen = _with(chosen, {name: value})
    for name, value in tuned.properties.items():
        setting = _SETTINGS_OF_PROPERTIES.get(name)
        if name not in model.properties and (setting is None or _is_free(model, setting)):
            chosen = _with(chosen, {_PROPERTIES: chosen.properties | {name: value}})
    return chosen


def _is_free(model: ModelSettings, name: str) -> bool:
    """Whether the setting exists and nobody set it."""
    field = _FIELDS.get(name)
    if field is None or name in _NEVER or name in model.explicit:
        return False
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    return bool(getattr(model, name) == default)


def _with(model: ModelSettings, changes: dict[str, object]) -> ModelSettings:
    values = {name: getattr(model, name) for name in _FIELDS} | changes
    try:
        changed = msgspec.convert(values, ModelSettings)
        check_options(changed)
    except (msgspec.ValidationError, ConfigError):
        return model
    return changed
