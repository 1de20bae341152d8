"""What a registry's document may say: a JSON object with a list of models, each as a [[models]] entry. Pure.

A document comes from another machine, so it may not name files of this one, nor settings that lead to them.
"""

import re
from typing import Any

import msgspec

from frontend.config import ConfigError, ModelSettings
from frontend.config_sources import model_of_table
from frontend.models.options import REMOTE, SYNTHETIC
from frontend.shortened import quoted

MAX_BYTES = 4 * 1024**2
MAX_MODELS = 1000
# Variables that a document may send to servers of its choice; any other may hold a secret of something else.
KEY_PREFIX = "REMOTE_KEY_"
_ALLOWED = frozenset(
    {
        "name",
        "source",
        "remote",
        "remote_model",
        "remote_api_key_env",
        "device",
        "task",
        "pooling",
        "normalize",
        "max_batch_tokens",
        "replicas",
        "threads",
        "kv_cache_gib",
        "kv_cache_precision",
        "context_length",
        "max_num_seqs",
        "max_num_batched_tokens",
        "prefix_caching",
        "generation_defaults",
        "voice_aliases",
        "tool_format",
        "reasoning_format",
        "soft_memory_gib",
        "preload",
        "pinned",
        "keep_alive_seconds",
    }
)
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(:[A-Za-z0-9._-]+)?")
_FILE_SUFFIXES = (".gguf", ".bin", ".xml", ".zip")


class Document(msgspec.Struct):
    models: list[dict[str, Any]]


_decoder = msgspec.json.Decoder(Document)


def read_document(data: bytes) -> list[ModelSettings]:
    """The models, in order. Raises ConfigError: a document counts as a whole or not at all."""
    if len(data) > MAX_BYTES:
        raise ConfigError(f"the registry's document has more than {MAX_BYTES} bytes")
    try:
        document = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            f"the registry's document is not a JSON object with a list of models: {error}"
        ) from None
    if len(document.models) > MAX_MODELS:
        raise ConfigError(f"the registry's document has more than {MAX_MODELS} models")
    models = [_model(table, f"registry models[{index}]") for index, table in enumerate(document.models)]
    names: set[str] = set()
    for model in models:
        if model.name in names:
            raise ConfigError(f"the registry's document has two models named {quoted(model.name)}")
        names.add(model.name)
    return models


def _model(table: dict[str, Any], where: str) -> ModelSettings:
    for key in table:
        if key not in _ALLOWED:
            raise ConfigError(
                f"{where}: {quoted(key)} cannot be set by a registry; set it in the settings file"
            )
    if "name" not in table:
        raise ConfigError(f"{where}: name is missing")
    model = model_of_table({"preload": False, **table}, where)
    if model.source != REMOTE and not _is_name(model.source):
        raise ConfigError(
            f"{where} source: must name a model of the catalogue or the store, not {quoted(model.source)}"
        )
    variable = model.remote_api_key_env
    if variable is not None and not variable.startswith(KEY_PREFIX):
        raise ConfigError(
            f"{where} remote_api_key_env: must begin with {KEY_PREFIX}, or a registry could send any "
            "variable to any server"
        )
    return model


def _is_name(source: str) -> bool:
    """Neither a path nor a file of the working folder."""
    if source.partition(":")[0] == SYNTHETIC:
        return True
    return bool(_SOURCE.fullmatch(source)) and not source.endswith(_FILE_SUFFIXES)
