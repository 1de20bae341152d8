"""What the JSON files of a Hugging Face style model folder say about the model."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from ipc.messages import Launch, TextOptions

REQUIRED_FILES = (
    "openvino_model.xml",
    "openvino_model.bin",
    "openvino_tokenizer.xml",
    "openvino_detokenizer.xml",
)


class ModelFolderError(Exception):
    """The folder cannot be a model; the text tells the operator why."""


class KvShape(msgspec.Struct, frozen=True):
    """The dimensions that decide how large a KV cache is."""

    layers: int
    kv_heads: int
    head_dim: int


class SamplingDefaults(msgspec.Struct, frozen=True):
    """What a request that says nothing gets. Where the model says nothing either: the OpenAI API's values."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0  # off
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int | None = None  # as many as the context still holds


class ModelFolder(msgspec.Struct, frozen=True):
    """A folder's facts; None and empty where its files do not say."""

    path: Path
    context_length: int | None
    vocab_size: int | None
    kv_shape: KvShape | None
    eos_token_ids: frozenset[int]
    defaults: SamplingDefaults
    chat_template: str | None
    special_tokens: dict[str, str]  # bos_token, eos_token, … → text


def read_model_folder(path: Path) -> ModelFolder:
    """Raises ModelFolderError if files are missing or are not JSON objects."""
    if not path.is_dir():
        raise ModelFolderError(f"{path} is not a folder")
    missing = [name for name in REQUIRED_FILES if not (path / name).is_file()]
    if missing:
        raise ModelFolderError(f"{path} lacks {', '.join(missing)}")
    outer = read_json(path / "config.json")
    config = outer | outer["text_config"] if isinstance(outer.get("text_config"), dict) else outer
    generation = read_json(path / "generation_config.json")
    tokenizer = read_json(path / "tokenizer_config.json")
    return ModelFolder(
        path=path,
        context_length=positive(config, "max_position_embeddings"),
        vocab_size=positive(config, "vocab_size"),
        kv_shape=_kv_shape(config),
        eos_token_ids=_token_ids(generation.get("eos_token_id")) or _token_ids(config.get("eos_token_id")),
        defaults=_defaults(generation),
        chat_template=_chat_template(path, tokenizer),
        special_tokens=_special_tokens(tokenizer),
    )


def overridden(folder: ModelFolder, launch: Launch[TextOptions]) -> ModelFolder:
    """The folder's facts, but for those that the launch sets."""
    asked = msgspec.structs.asdict(launch.options.generation_defaults)
    defaults = {name: value for name, value in asked.items() if value is not None}
    return msgspec.structs.replace(
        folder,
        defaults=msgspec.structs.replace(folder.defaults, **defaults),
        chat_template=launch.options.chat_template or folder.chat_template,
    )


def fingerprint(path: Path, engine_version: str) -> str:
    """Ten hex digits after fp_ that change with the engine and any file of the folder but the weights."""
    digest = hashlib.sha256(engine_version.encode())
    for file in sorted(path.iterdir()):
        if file.suffix in (".xml", ".json", ".jinja"):
            digest.update(file.name.encode())
            digest.update(file.read_bytes())
    return f"fp_{digest.hexdigest()[:10]}"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one if there is no such file. Raises ModelFolderError."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelFolderError(f"{path} does not hold a JSON object")
    return content


def positive(config: dict[str, Any], key: str) -> int | None:
    """A positive integer of a config; None if it has none of this name."""
    value = config.get(key)
    return value if isinstance(value, int) and value > 0 else None


def _kv_shape(config: dict[str, Any]) -> KvShape | None:
    layers = positive(config, "num_hidden_layers")
    heads = positive(config, "num_attention_heads")
    kv_heads = positive(config, "num_key_value_heads") or heads
    hidden = positive(config, "hidden_size")
    head_dim = positive(config, "head_dim") or (hidden // heads if hidden and heads else None)
    return KvShape(layers, kv_heads, head_dim) if layers and kv_heads and head_dim else None


def _token_ids(value: object) -> frozenset[int]:
    listed = value if isinstance(value, list) else [value]
    return frozenset(item for item in listed if isinstance(item, int) and item >= 0)


def _defaults(generation: dict[str, Any]) -> SamplingDefaults:
    known = {
        name: generation[name]
        for name in SamplingDefaults.__struct_fields__
        if generation.get(name) is not None
    }
    try:
        return msgspec.convert(known, SamplingDefaults, strict=False)
    except msgspec.ValidationError as error:
        raise ModelFolderError(f"generation_config.json: {error}") from error


def _chat_template(path: Path, tokenizer: dict[str, Any]) -> str | None:
    file = path / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = tokenizer.get("chat_template") or read_json(path / "chat_template.json").get("chat_template")
    if isinstance(template, list):  # several named ones
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    return template if isinstance(template, str) and template else None


def _special_tokens(tokenizer: dict[str, Any]) -> dict[str, str]:
    tokens = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        value = tokenizer.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            tokens[name] = text
    return tokens
