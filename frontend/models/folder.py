"""Reads what tells a model folder's kind: its listing and its small files, within bounds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from frontend.models.errors import ModelError
from ipc.model_files import list_files

MODEL_XML = "openvino_model.xml"
_LANGUAGE_XML = "openvino_language_model.xml"  # of a vision model
_DOCUMENTS = (
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "model_index.json",
    "openvino_config.json",
    "manifest.json",  # of our own store
)
_MAX_DOCUMENT_BYTES = 4 * 1024**2
_TAIL_BYTES = 32 * 1024  # where the tools that compressed the weights sign


class FolderFacts(msgspec.Struct, frozen=True):
    """A folder's listing, its small JSON files (invalid ones left out), and the end of the model's XML."""

    path: str
    files: frozenset[str]
    documents: dict[str, Any] = {}
    xml_tail: str = ""

    @property
    def name(self) -> str:
        return Path(self.path).name

    def document(self, name: str) -> Mapping[str, Any]:
        """A JSON object; empty if the file is absent or holds something else."""
        content = self.documents.get(name)
        return content if isinstance(content, dict) else {}


def look_at(folder: Path) -> FolderFacts:
    """Raises ModelError if the folder cannot be read."""
    try:
        return FolderFacts(
            str(folder),
            frozenset(list_files(folder)),
            {name: content for name in _DOCUMENTS if (content := read_json(folder / name)) is not None},
            _read_tail(folder / MODEL_XML) or _read_tail(folder / _LANGUAGE_XML),
        )
    except OSError as error:
        raise ModelError(f"cannot read {folder}: {error.strerror}") from error


def read_json(path: Path) -> Any | None:
    """None if the file is absent, too large, or not JSON."""
    if not path.is_file() or path.stat().st_size > _MAX_DOCUMENT_BYTES:
        return None
    try:
        return msgspec.json.decode(path.read_bytes())
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _read_tail(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read(_TAIL_BYTES).decode("ascii", "replace")
