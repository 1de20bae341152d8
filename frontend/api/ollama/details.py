"""What Ollama's API says about a model, from the files in its folder."""

import datetime
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from frontend.models import described as store
from frontend.models.folder import read_json
from frontend.models.manifest import Manifest, Recipe, file_sizes, read_manifest

_UNITS = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))
# Ollama's names for what config.json states, after the architecture.
_MODEL_INFO = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "feed_forward_length": "intermediate_size",
    "vocab_size": "vocab_size",
}
# Generation defaults, and Ollama's names for those that are called otherwise.
_SHOWN = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens")
_PARAMETERS = {"repetition_penalty": "repeat_penalty", "max_new_tokens": "num_predict"}
_NOBODY = Recipe("", "", "", {})


class Details(msgspec.Struct, frozen=True, kw_only=True):
    parent_model: str = ""
    format: str = "openvino"
    family: str = ""
    families: list[str] = []
    parameter_size: str = ""
    quantization_level: str = ""


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a model without loading it."""

    details: Details = Details()
    digest: str
    created: str | None = None  # RFC 3339
    parameter_count: int = 0  # 0: unknown
    config: Mapping[str, Any] = {}  # config.json
    licence: str = ""


def described(folder: str, name: str) -> Described:
    """Of an IR folder; empty: one of a model that has none here. Reads files, the first time megabytes."""
    if not folder:
        return Described(digest=_digest(name))
    try:
        return _described(folder, Path(folder).stat().st_mtime_ns)
    except OSError:  # whatever serves it will say why
        return Described(digest=_digest(name))


@lru_cache(256)
def _described(folder: str, _changed_at: int) -> Described:
    path = Path(folder)
    stored = read_manifest(path)
    manifest = store.described(path, stored or _without_recipe(path))
    document = read_json(path / "config.json")
    config = document if isinstance(document, dict) else {}
    family = str(config.get("model_type") or "")
    content: Any = manifest.files if stored is None else manifest.recipe
    return Described(
        details=Details(
            family=family,
            families=[family] if family else [],
            parameter_size=parameter_size(manifest.parameters),
            quantization_level=manifest.precision.upper(),
        ),
        digest=_digest(msgspec.json.encode(content, order="deterministic").decode()),
        created=manifest.created.isoformat().replace("+00:00", "Z"),
        parameter_count=manifest.parameters,
        config=config,
        licence=manifest.origin.licence,
    )


def _without_recipe(folder: Path) -> Manifest:
    """Of a folder that is not of a store."""
    created = datetime.datetime.fromtimestamp(folder.stat().st_mtime, datetime.UTC)
    return Manifest(_NOBODY, str(folder), created, file_sizes(folder))


def parameter_size(count: int) -> str:
    """As Ollama writes it, such as 134.5M; empty if it is unknown."""
    return next((f"{count / size:.4g}{unit}" for size, unit in _UNITS if count >= size), "")


def model_info(model: Described, context_length: int | None) -> dict[str, Any]:
    """By the keys of GGUF files. `context_length` is what is served, in tokens; None: as the files say."""
    text = model.config.get("text_config")
    config = {**model.config, **(text if isinstance(text, dict) else {})}
    architecture = model.details.family or "unknown"
    info: dict[str, Any] = {"general.architecture": architecture}
    if model.parameter_count:
        info["general.parameter_count"] = model.parameter_count
    info |= {f"{architecture}.{ours}": config[key] for ours, key in _MODEL_INFO.items() if key in config}
    if context_length is not None:
        info[f"{architecture}.context_length"] = context_length
    return info


def parameters_of(folder: str, given: Mapping[str, str | int | float]) -> str:
    """The generation defaults as lines of a Modelfile; those of the settings win over the files'."""
    found = read_json(Path(folder) / "generation_config.json") if folder else None
    defaults = {**(found if isinstance(found, dict) else {}), **given}
    if "max_tokens" in defaults:
        defaults["max_new_tokens"] = defaults["max_tokens"]
    return "\n".join(
        f"{_PARAMETERS.get(name, name)} {defaults[name]}"
        for name in _SHOWN
        if isinstance(defaults.get(name), int | float | str)
    )


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
