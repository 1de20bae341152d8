"""What the JSON files of a Hugging Face style model folder say about the model."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from host.errors import LaunchError
from ipc.chat_templates import ChatTemplates, find_templates
from ipc.kv_cache import KvShape, kv_shape_of, positive
from ipc.messages import Launch, TextOptions
from ipc.messages.text import MaxTokens, MinP, RepetitionPenalty, Temperature, TopK, TopP
from ipc.model_files import (
    MAX_DOCUMENT_BYTES,
    FileFault,
    read_text,
)

# Of many scripts and rare words, so that some of its tokens come late in a vocabulary.
VARIED_TEXT = (
    "the unquestionable Donaudampfschiffahrt возможность ελευθερία 日本語版 한국어로 العربية हिन्दी ภาษาไทย "
    "ngữ pháp żółć 12345 {}[]();//==> \U0001f600 Przedsiębiorczość kuzey-batı אוניברסיטה ქართული հայերեն"
)
_CHUNK_BYTES = 1024**2


class ModelFolderError(LaunchError):
    """A file of the model is missing, damaged or not supported."""


class SamplingDefaults(msgspec.Struct, frozen=True):
    """What a request that says nothing gets. Where the model says nothing either: the OpenAI API's values."""

    temperature: Temperature = 1.0
    top_p: TopP = 1.0
    top_k: TopK = 0  # off
    min_p: MinP = 0.0
    repetition_penalty: RepetitionPenalty = 1.0
    max_tokens: MaxTokens | None = None  # as many as the context still holds


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
    tool_template: str = ""  # in place of the other for turns with tools; empty for none


def language_xml(path: Path) -> Path:
    """The IR of a folder's language model, which is one part of several in a vision model."""
    part = path / "openvino_language_model.xml"
    return part if part.exists() else path / "openvino_model.xml"


def check_vocabulary(path: Path, token_ids: Iterable[int], vocab_size: int | None) -> None:
    """Raise ModelFolderError if a tokenizer that gives these ids for VARIED_TEXT belongs to another model."""
    largest = max(token_ids, default=0)
    if vocab_size is not None and largest >= vocab_size:
        raise ModelFolderError(
            f"{path / 'openvino_tokenizer.xml'} belongs to another model: it gives token id {largest}, but "
            f"the vocabulary has {vocab_size} tokens"
        )


def read_model_folder(path: Path) -> ModelFolder:
    """What the JSON files say; those that are missing say nothing. `ipc.ir.check_model` finds missing files.

    Raises ModelFolderError for files that are not JSON objects, or have wrong values.
    """
    outer = read_json(path / "config.json")
    config = outer | outer["text_config"] if isinstance(outer.get("text_config"), dict) else outer
    generation = read_json(path / "generation_config.json")
    tokenizer = read_json(path / "tokenizer_config.json")
    templates = _chat_templates(path)
    return ModelFolder(
        path=path,
        context_length=positive(config, "max_position_embeddings"),
        vocab_size=positive(config, "vocab_size"),
        kv_shape=kv_shape_of(config),
        eos_token_ids=_token_ids(generation.get("eos_token_id")) or _token_ids(config.get("eos_token_id")),
        defaults=_defaults(path / "generation_config.json", generation),
        chat_template=templates.default or None,
        tool_template=templates.tool_use,
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
        tool_template="" if launch.options.chat_template else folder.tool_template,
    )


def fingerprint(path: Path, engine_version: str) -> str:
    """Ten hex digits after fp_ that change with the engine and any file of the folder but the weights."""
    digest = hashlib.sha256(engine_version.encode())
    for file in sorted(path.iterdir()):
        if file.suffix in (".xml", ".json", ".jinja"):
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    digest.update(chunk)
    return f"fp_{digest.hexdigest()[:10]}"


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one if there is no such file. Raises ModelFolderError."""
    if not path.exists():
        return {}
    content = read_any_json(path)
    if not isinstance(content, dict):
        raise ModelFolderError(f"{path} does not hold a JSON object")
    return content


def read_any_json(path: Path) -> Any:
    """Whatever a JSON file holds. Raises ModelFolderError."""
    try:
        text = read_text(path, MAX_DOCUMENT_BYTES).removeprefix("\ufeff")
        return json.loads(text, parse_constant=_refuse_constant)
    except FileFault as error:
        raise ModelFolderError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise ModelFolderError(f"{path} is not valid JSON: {error}") from error


def _refuse_constant(name: str) -> None:
    """NaN and infinities, which the engine does not read."""
    raise ValueError(f"{name} is not a JSON number")


def _token_ids(value: object) -> frozenset[int]:
    listed = value if isinstance(value, list) else [value]
    return frozenset(item for item in listed if isinstance(item, int) and item >= 0)


def _defaults(file: Path, generation: dict[str, Any]) -> SamplingDefaults:
    known = {
        name: generation[name]
        for name in SamplingDefaults.__struct_fields__
        if generation.get(name) is not None
    }
    try:
        return msgspec.convert(known, SamplingDefaults, strict=False)
    except msgspec.ValidationError as error:
        raise ModelFolderError(f"{file}: {error}") from error


def _chat_templates(path: Path) -> ChatTemplates:
    try:
        return find_templates(path)
    except FileFault as error:
        raise ModelFolderError(str(error)) from error


def _special_tokens(tokenizer: dict[str, Any]) -> dict[str, str]:
    tokens = {}
    for name in ("bos_token", "eos_token", "pad_token", "unk_token"):
        value = tokenizer.get(name)
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str):
            tokens[name] = text
    return tokens
