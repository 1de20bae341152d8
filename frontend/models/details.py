"""Everything that is known about a model of the store, for people and programs."""

from pathlib import Path
from typing import Any

import msgspec

from frontend.models.shelf import Installed
from ipc.model_files import MAX_DOCUMENT_BYTES, MAX_TEMPLATE_BYTES, FileFault, read_file, read_text

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
        template=template_of(one.path),
        licence=one.manifest.origin.licence or licence or first,
        licence_text=text,
    )


def template_of(folder: Path) -> str:
    """The chat template of a model folder; empty if it has none."""
    text = _text(folder / "chat_template.jinja", MAX_TEMPLATE_BYTES)
    if text:
        return text
    for name in ("tokenizer_config.json", "chat_template.json"):
        template = _object(folder / name).get("chat_template")
        if isinstance(template, list):  # several named ones
            named = (each for each in template if isinstance(each, dict) and each.get("name") == "default")
            template = next(named, {}).get("template")
        if isinstance(template, str) and template:
            return template
    return ""


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
