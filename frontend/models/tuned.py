"""Applies what `nacelle tune` found to a model's settings. Pure."""

import msgspec

from frontend.config import ConfigError, ModelSettings
from frontend.models.manifest import Tuned
from frontend.models.options import check_options, properties_of

_PROPERTIES = "properties"
_THREADS = "INFERENCE_NUM_THREADS"  # the setting threads stands for it
# Measured with one replica: several would share the CPUs that one had for itself.
_OF_ONE_REPLICA = {"threads", _THREADS, "ENABLE_CPU_PINNING"}
_NEVER = {"name", "source", "explicit", _PROPERTIES}
_FIELDS = {field.name: field for field in msgspec.structs.fields(ModelSettings)}


def with_tuned(model: ModelSettings, tuned: Tuned | None) -> ModelSettings:
    """The settings with what was tuned wherever nobody set something else; the same object without that.

    Whatever does not fit is left out: a tuned value may come from another version, or exclude a setting.
    """
    if tuned is None:
        return model
    unfit = _OF_ONE_REPLICA if model.replicas > 1 else set()
    taken = {*properties_of(model), *unfit}
    if "threads" in model.explicit:
        taken.add(_THREADS)
    for name, value in tuned.settings.items():
        model = _with(model, {name: value}) if name not in unfit and _is_free(model, name) else model
    for name, value in tuned.properties.items():
        if name not in taken and not (name == _THREADS and model.threads):
            model = _with(model, {_PROPERTIES: model.properties | {name: value}})
    return model


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
