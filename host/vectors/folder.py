"""What the files of an embedding model or reranker say about pooling, windows and prompts."""

from pathlib import Path
from typing import Any

import msgspec

from host.errors import LaunchError
from host.model_folder import ModelFolderError, read_any_json, read_json
from ipc.kv_cache import positive
from ipc.messages import VectorOptions
from ipc.messages.vectors import Pooling

MODEL_FILE = "openvino_model.xml"

_FALLBACK_WINDOW = 512  # tokens, where no file says
_LARGEST_WINDOW = 1 << 20  # tokens; tokenizers without a limit give 10^30 as theirs
_OFFSET_POSITIONS = ("roberta", "camembert", "mpnet")  # their positions begin after the padding token's id
_DECODERS = ("qwen", "llama", "mistral", "gemma", "phi")  # their last token has seen all others
_SUPPORTED_MODULES = {"Transformer", "Pooling", "Normalize"}
_POOLING_MODES: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last_token",
}
_POOLING_NAMES: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last_token"}


class VectorFolder(msgspec.Struct, frozen=True):
    """Facts of the model, whichever the task."""

    path: Path
    model_type: str  # empty if its config does not say
    window: int  # tokens of the longest input, special ones included
    vocab_size: int
    pad_token_id: int
    segments: bool  # tells the two texts of a pair apart by token types
    doubled_separator: bool  # two separators between the texts of a pair


class SentenceSettings(msgspec.Struct, frozen=True):
    """How tokens become an embedding."""

    pooling: Pooling
    normalize: bool
    complete: bool  # only the graph's own `sentence_embedding` does all that the files ask for
    prompts: dict[str, str]
    default_prompt: str  # its name; empty if there is none


def read_vector_folder(path: Path, options: VectorOptions) -> VectorFolder:
    """Raises ModelFolderError for missing or broken files, LaunchError for a context that the model lacks."""
    if not path.is_dir():
        raise ModelFolderError(f"{path} is not a folder")
    config, tokenizer = read_json(path / "config.json"), read_json(path / "tokenizer_config.json")
    vocab_size = positive(config, "vocab_size")
    if vocab_size is None:
        raise ModelFolderError(f"{path / 'config.json'} does not give the model's vocab_size")
    pad = config.get("pad_token_id")
    return VectorFolder(
        path=path,
        model_type=str(config.get("model_type", "")),
        window=_window(path, config, tokenizer, options.context_length),
        vocab_size=vocab_size,
        pad_token_id=pad if isinstance(pad, int) and 0 <= pad < vocab_size else 0,
        segments=(positive(config, "type_vocab_size") or 1) > 1,
        doubled_separator=_text(tokenizer.get("cls_token")) == "<s>",
    )


def read_sentence_settings(folder: VectorFolder, options: VectorOptions) -> SentenceSettings:
    """Pooling, normalization and prompts: the options first, then the files, then the usual for the model.

    Raises ModelFolderError if a file is broken or asks for a pooling that is not supported.
    """
    modules = _modules(folder.path)
    kinds = {str(module.get("type", "")).rpartition(".")[2] for module in modules}
    named = read_json(folder.path / "config_sentence_transformers.json")
    prompts = named.get("prompts")
    return SentenceSettings(
        pooling=options.pooling or _pooling(folder, modules),
        normalize=_first(options.normalize, "Normalize" in kinds if modules else True),
        complete=kinds <= _SUPPORTED_MODULES,
        prompts=msgspec.convert(prompts, dict[str, str]) if isinstance(prompts, dict) else {},
        default_prompt=_text(named.get("default_prompt_name")),
    )


def _window(path: Path, config: dict[str, Any], tokenizer: dict[str, Any], asked: int | None) -> int:
    positions = positive(config, "max_position_embeddings")
    if positions and any(family in str(config.get("model_type")) for family in _OFFSET_POSITIONS):
        positions -= (positive(config, "pad_token_id") or 0) + 1
    if asked is not None:
        if positions and asked > positions:
            raise LaunchError(f"a context of {asked} tokens exceeds the model's {positions} positions")
        return asked
    own = positive(read_json(path / "sentence_bert_config.json"), "max_seq_length")
    stated = own or positive(tokenizer, "model_max_length") or positions or _FALLBACK_WINDOW
    return min(stated, positions or _LARGEST_WINDOW, _LARGEST_WINDOW)


def _modules(path: Path) -> list[dict[str, Any]]:
    """The entries of modules.json, which is a list."""
    file = path / "modules.json"
    if not file.exists():
        return []
    try:
        return msgspec.convert(read_any_json(file), list[dict[str, Any]])
    except msgspec.ValidationError as error:
        raise ModelFolderError(f"{file} is not a list of modules: {error}") from error


def _pooling(folder: VectorFolder, modules: list[dict[str, Any]]) -> Pooling:
    paths = [module.get("path") for module in modules if str(module.get("type", "")).endswith("Pooling")]
    file = folder.path / _text(paths[0] if paths else "1_Pooling") / "config.json"
    config = read_json(file)
    if not config:
        return "last_token" if folder.model_type.startswith(_DECODERS) else "mean"
    asked = [mode for mode, on in config.items() if mode.startswith("pooling_mode_") and on is True]
    asked += [config["pooling_mode"]] if isinstance(config.get("pooling_mode"), str) else []
    known = _POOLING_MODES | _POOLING_NAMES
    if len(asked) != 1 or asked[0] not in known:
        raise ModelFolderError(
            f"{file} asks for {' and '.join(asked) or 'no'} pooling, which is not supported"
        )
    if config.get("include_prompt") is False:
        raise ModelFolderError(f"{file} leaves prompts out of the pooling, which is not supported")
    return known[asked[0]]


def _first(option: bool | None, otherwise: bool) -> bool:
    return otherwise if option is None else option


def _text(value: object) -> str:
    """A string of a JSON file, or the content of a token's entry."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else ""
