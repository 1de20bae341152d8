"""Everything that is known about a model of the store, for people and programs."""

from pathlib import Path
from typing import Any

import msgspec

from frontend.models.shelf import Installed
from ipc.chat_templates import ChatTemplates, find_templates
from ipc.model_files import MAX_DOCUMENT_BYTES, FileFault, read_file, read_text

_LICENCES = ("LICENSE*", "LICENCE*", "COPYING*")
_MAX_LICENCE_BYTES = 1024**2


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """What the manifest does not hold itself. Empty where the model has no such thing."""

    parameters: dict[str, Any]  # defaults of generation, as in generation_config.json
    template: str  # the chat template
    licence: str  # its name, or the first line of its text
    licence_text: str


def details_of(one: Installed, licence: str = "") -> Details:
    """`licence` is what the catalogue names."""
    text = _licence_text(one.path)
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return Details(
        parameters=_object(one.path / "generation_config.json"),
        template=templates_of(one.path).default,
        licence=one.manifest.origin.licence or licence or first,
        licence_text=text,
    )


def templates_of(folder: Path) -> ChatTemplates:
    """The chat templates of a model folder; none if its files cannot be read."""
    try:
        return find_templates(folder)
    except FileFault:
        return ChatTemplates()


def _licence_text(folder: Path) -> str:
    files = sorted(file for pattern in _LICENCES for file in folder.glob(pattern))
    return _text(files[0], _MAX_LICENCE_BYTES) if files else ""


def _text(file: Path, limit: int) -> str:
    try:
        return read_text(file, limit)
    except FileFault:
        return ""


def _object(file: Path) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(read_file(file, MAX_DOCUMENT_BYTES))
    except (FileFault, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
