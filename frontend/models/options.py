"""What a model's engine options mean: which exclude each other, and what those given as text say. Pure."""

import re
from collections.abc import Iterable
from typing import Any, get_type_hints

from frontend.config import ConfigError, ModelSettings
from frontend.config_values import Given, convert, suggestion
from frontend.shortened import quoted, shortened
from ipc.kv_cache import least_step_tokens
from ipc.messages import TASKS, Adapter, GenerationDefaults

SYNTHETIC = "synthetic"
REMOTE = "remote"  # the source of a model that has no files here
_ADAPTER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KV_CACHE_PRECISION = "KV_CACHE_PRECISION"
_SHOWN_CHARACTERS = 40  # of a wrong name beside a long list of right ones


def engine_kind(model: ModelSettings, task: str = "text") -> str:
    """The name of the engine that serves a model of this task."""
    if model.source.partition(":")[0] == SYNTHETIC:
        return "synthetic"
    if model.source == REMOTE:
        return REMOTE
    if task != "text":
        return task
    if model.engine == "auto":
        return "stateful" if model.device.startswith("NPU") else "text"
    return "text" if model.engine == "continuous_batching" else model.engine


def served_names(model: ModelSettings) -> list[str]:
    """The names that a model's settings put into the API: its own, then one for each adapter."""
    return [model.name, *(adapted_name(model, adapter) for adapter in model.adapters)]


def adapted_name(model: ModelSettings, adapter: str) -> str:
    return f"{model.name}:{adapter}"


def check_options(model: ModelSettings) -> None:
    """Raise ConfigError, naming the settings, where some do not fit together or cannot be read."""
    engines = ["auto", "continuous_batching", *(engine for task in TASKS for engine in task.engines)]
    if model.engine not in engines:
        known = ", ".join(dict.fromkeys(engines))
        raise _clash(model, f"engine must be one of {known}, not {quoted(model.engine)}")
    batching_only = [
        name for name in ("draft_model", "prompt_lookup", "cache_eviction_tokens") if getattr(model, name)
    ]
    if engine_kind(model) == "stateful" and batching_only:
        raise _clash(model, f"the stateful engine has no {batching_only[0]}")
    if model.engine == "continuous_batching" and model.device.startswith("NPU"):
        raise _clash(model, "an NPU has no continuous_batching engine")
    if len(batching_only) > 1:
        raise _clash(model, f"{' and '.join(batching_only)} exclude each other")
    least = least_step_tokens(model.device)
    if engine_kind(model) == "text" and model.prefix_caching and model.max_num_batched_tokens < least:
        raise _clash(
            model,
            f"max_num_batched_tokens must be at least {least} on {model.device}, "
            f"not {model.max_num_batched_tokens}; or turn prefix_caching off",
        )
    if model.kv_cache_precision and _KV_CACHE_PRECISION in model.properties:
        raise _clash(model, f"kv_cache_precision and the property {_KV_CACHE_PRECISION} exclude each other")
    for name, text in model.adapters.items():
        if not _ADAPTER_NAME.fullmatch(name):
            raise _clash(
                model,
                f"adapters: {quoted(name)} is not a name; use letters, digits and ._-, a letter or digit "
                "first",
            )
        adapter_of(text)
    generation_defaults_of(model)
    if model.tool_format or model.reasoning_format:
        _check_formats(model)
    _check_remote(model)


def _check_remote(model: ModelSettings) -> None:
    if model.source == REMOTE and not model.remote:
        raise _clash(model, "remote: set the URL of the server that has it, or source to what is here")
    if not model.remote and (model.remote_model or model.remote_api_key_env):
        raise _clash(model, "remote_model and remote_api_key_env need remote, the URL of the server")
    if model.remote and model.adapters:
        raise _clash(model, "remote and adapters exclude each other; give each adapter's name a remote model")
    if model.remote:
        from frontend.remote.backend import base_url

        for url in model.remote:
            base_url(url)


def _check_formats(model: ModelSettings) -> None:
    from frontend.parsing import REASONING_FORMAT_NAMES, TOOL_FORMAT_NAMES  # only who sets one pays for it

    _check_name(model, "tool_format", TOOL_FORMAT_NAMES)
    _check_name(model, "reasoning_format", REASONING_FORMAT_NAMES)


def _check_name(model: ModelSettings, setting: str, known: Iterable[str]) -> None:
    value = getattr(model, setting)
    if value is not None and value not in known:
        shown = shortened(value, _SHOWN_CHARACTERS)
        raise _clash(model, f"{setting} must be one of {', '.join(known)}, not {shown!r}")


def _clash(model: ModelSettings, words: str) -> ConfigError:
    return ConfigError(f"model {model.name!r}: {words}")


def adapter_of(text: str) -> Adapter:
    """The adapter of `FILE[:ALPHA]`. Raises ConfigError."""
    path, colon, alpha = text.rpartition(":")
    if colon and re.fullmatch(r"[+-]?[0-9.]+(e[+-]?[0-9]+)?", alpha):
        try:
            return Adapter(path, float(alpha))
        except ValueError as error:
            raise ConfigError(f"adapters: write FILE[:ALPHA], not {quoted(text)}") from error
    return Adapter(text, 1.0)


def generation_defaults_of(model: ModelSettings) -> GenerationDefaults:
    """Raises ConfigError naming the default."""
    types = get_type_hints(GenerationDefaults, include_extras=True)
    found: dict[str, Any] = {}
    for name, value in model.generation_defaults.items():
        if name not in types:
            hint = suggestion(name, types) or f"; use one of {', '.join(types)}"
            raise _clash(model, f"generation_defaults: no default {quoted(name)}{hint}")
        origin = f"model {model.name!r}: generation_defaults {name}"
        found[name] = convert(Given(value, origin), types[name])
    return GenerationDefaults(**found)


def properties_of(model: ModelSettings) -> dict[str, str]:
    """OpenVINO properties: the model's own, and those that its settings stand for."""
    if model.kv_cache_precision is None:
        return dict(model.properties)
    own = {_KV_CACHE_PRECISION: model.kv_cache_precision}
    if model.kv_cache_precision == "f32":  # the CPU's attention refuses it where it calculates in bfloat16
        own["INFERENCE_PRECISION_HINT"] = "f32"
    return own | model.properties
