"""What Ollama's API says about a model, from the files in its folder."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from frontend.models.errors import ModelError
from frontend.models.folder import FolderFacts, look_at, read_json
from frontend.models.recognize import recognize

_MAX_TEMPLATE_BYTES = 1024**2
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
# Ollama's names for generation defaults.
_PARAMETERS = {"repetition_penalty": "repeat_penalty", "max_new_tokens": "num_predict"}
_SHOWN = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens")


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
    digest: str = ""
    created: str | None = None  # RFC 3339
    parameter_count: int = 0  # 0: unknown
    config: Mapping[str, Any] = {}  # config.json
    licence: str = ""


def described(folder: str, name: str) -> Described:
    """Of an IR folder; empty: one of a model that has none here. Reads small files."""
    if not folder:
        return Described(digest=_digest(name))
    try:
        facts = look_at(Path(folder))
        precision = recognize(facts).precision
    except ModelError:  # whatever serves it will say why
        return Described(digest=_digest(name))
    config, manifest = facts.document("config.json"), facts.document("manifest.json")
    family = str(config.get("model_type") or "")
    count = _whole(manifest.get("parameters"))
    origin = manifest.get("origin")
    return Described(
        details=Details(
            family=family,
            families=[family] if family else [],
            parameter_size=parameter_size(count),
            quantization_level=str(manifest.get("precision") or precision).upper(),
        ),
        digest=_digest(_content(facts, manifest)),
        created=str(manifest["created"]) if "created" in manifest else None,
        parameter_count=count,
        config=config,
        licence=str(origin.get("licence", "")) if isinstance(origin, dict) else "",
    )


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


def chat_template(folder: str) -> str:
    """The source of the chat template of a model that has not been loaded; empty for none."""
    file = Path(folder) / "chat_template.jinja"
    if folder and file.is_file() and file.stat().st_size <= _MAX_TEMPLATE_BYTES:
        return file.read_text(errors="replace")
    document = read_json(Path(folder) / "tokenizer_config.json") if folder else None
    template = document.get("chat_template") if isinstance(document, dict) else None
    return template if isinstance(template, str) else ""


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _content(facts: FolderFacts, manifest: Mapping[str, Any]) -> str:
    """What identifies the content of a folder."""
    if "recipe" in manifest:
        return msgspec.json.encode(manifest["recipe"], order="deterministic").decode()
    sizes = {name: (Path(facts.path) / name).stat().st_size for name in sorted(facts.files)}
    return msgspec.json.encode(sizes).decode()


def _digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()
