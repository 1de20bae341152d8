"""Finds a user's model that the store has converted before, by the name that `nacelle list` shows."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from frontend.config_sources import is_path, no_such_path
from frontend.config_values import suggestion
from frontend.models.errors import ModelError
from frontend.models.manifest import Manifest
from frontend.models.reporter import Reporter
from frontend.models.shelf import Shelf
from frontend.shortened import PATH_CHARACTERS, quoted, shown_path, shown_source

if TYPE_CHECKING:  # short commands need only `explain_unknown`, and the store imports what builds models
    from frontend.models.store import Store

_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+(?:@[\w.-]+)?(?::[\w.-]+)?")  # of a model on Hugging Face's hub
_URL = re.compile(r"(?:https?|gs|s3)://\S+")
_HUB_PREFIX = re.compile(r"hf:(?://)?|(?:https?://)?(?:hf\.co|huggingface\.co)/")


def find_by_name(
    store: "Store", name: str, converters: dict[str, str], reporter: Reporter
) -> tuple[Path, bool] | None:
    """An IR folder in the store, or what to convert again, and whether it is the former; None: no such model.

    `name` may also be the path from which a model was converted. Raises ModelError if no or several models
    can be meant, saying what to name instead.
    """
    stored = store.converted(name)
    if not stored:
        one = store.installed_named(name) or store.installed_from(name)  # a copy, or what was pulled
        return (one.path, True) if one else None
    ready = [manifest for manifest in stored if store.find(manifest.recipe) is not None]
    current = [manifest for manifest in ready if manifest.recipe.converters == converters]
    if len(current) == 1:
        return store.folder(current[0].recipe), True
    origin = _only_origin(name, stored)
    if _is_there(Path(origin)):
        return Path(origin), False
    if current:  # the file has changed since the others
        reporter.note(f"{origin} is gone: serving the newest of its {len(current)} conversions")
        return store.folder(max(current, key=lambda manifest: manifest.created).recipe), True
    why = "must be converted again for this version" if ready else "is damaged in the store"
    raise ModelError(f"{name!r} {why}, but {origin} is gone; name the file or folder where it is now")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a folder above it cannot be read
        return False


def _only_origin(name: str, stored: Sequence[Manifest]) -> str:
    origins = sorted({manifest.source for manifest in stored})
    if len(origins) > 1:
        raise ModelError(
            f"the store has {len(origins)} models named {name!r}; name the file or folder of one: "
            + ", ".join(origins)
        )
    return origins[0]


def explain_unknown(source: str, catalogue: Collection[str], store: Shelf) -> str:
    """What a source is not, and what may have been meant."""
    if _URL.fullmatch(source) and not _HUB_PREFIX.match(source):
        url = shown_path(shown_source(source))
        return f"{url} is not on this machine; pull it first: nacelle pull {url}"
    known = {*catalogue, *(manifest.recipe.name for manifest in store.manifests())}
    hint = suggestion(source, known)
    hub_name = _HUB_PREFIX.sub("", source)
    if not hint and len(source) <= PATH_CHARACTERS and _HUB_NAME.fullmatch(hub_name):
        hint = f"; pull it first: nacelle pull {hub_name}"
    if is_path(source):
        return no_such_path(source)
    return (
        f"{quoted(source)} is neither a catalogue model ({', '.join(catalogue)}), nor an existing file or "
        f"folder, nor a model of the store{hint or '; see nacelle list'}"
    )
