"""What the files of a Whisper folder say about the model."""

from pathlib import Path
from typing import Any, NamedTuple

from host.model_folder import ModelFolderError, read_json
from ipc.kv_cache import positive

_POSITIONS = 448  # of Whisper's decoder


class WhisperFolder(NamedTuple):
    path: Path
    multilingual: bool
    languages: list[str]  # codes
    translates: bool  # into English
    aligns: bool  # can tell the time of each word
    positions: int  # tokens of prompt and text together


def read_whisper_folder(path: Path) -> WhisperFolder:
    """Raises ModelFolderError."""
    generation = read_json(path / "generation_config.json")
    config = read_json(path / "config.json")
    multilingual = bool(generation.get("is_multilingual", False))
    languages = sorted(_codes(generation.get("lang_to_id"))) if multilingual else ["en"]
    if not languages:
        raise ModelFolderError(f"{path / 'generation_config.json'} lists no languages in lang_to_id")
    return WhisperFolder(
        path=path,
        multilingual=multilingual,
        languages=languages,
        translates=multilingual and "translate" in _object(generation.get("task_to_id")),
        aligns=bool(generation.get("alignment_heads")),
        positions=positive(config, "max_target_positions") or _POSITIONS,
    )


def token_of(code: str) -> str:
    """A language as Whisper's vocabulary spells it."""
    return f"<|{code}|>"


def _codes(lang_to_id: Any) -> list[str]:
    return [token.removeprefix("<|").removesuffix("|>") for token in _object(lang_to_id)]


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
