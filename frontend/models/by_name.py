"""Finds a user's model that the store has converted before, by the name that `nacelle list` shows."""

from collections.abc import Sequence
from pathlib import Path

from frontend.models.errors import ModelError
from frontend.models.reporter import Reporter
from frontend.models.store import Manifest, Store


def find_by_name(
    store: Store, name: str, converters: dict[str, str], reporter: Reporter
) -> tuple[Path, bool] | None:
    """An IR folder in the store, or what to convert again, and whether it is the former; None: no such model.

    `name` may also be the path from which a model was converted. Raises ModelError if no or several models
    can be meant, saying what to name instead.
    """
    stored = store.converted(name)
    if not stored:
        return None
    ready = [manifest for manifest in stored if store.find(manifest.recipe) is not None]
    current = [manifest for manifest in ready if manifest.recipe.converters == converters]
    if len(current) == 1:
        return store.folder(current[0].recipe), True
    origin = _only_origin(name, stored)
    if Path(origin).exists():
        return Path(origin), False
    if current:  # the file has changed since the others
        reporter.note(f"{origin} is gone: serving the newest of its {len(current)} conversions")
        return store.folder(max(current, key=lambda manifest: manifest.created).recipe), True
    why = "must be converted again for this version" if ready else "is damaged in the store"
    raise ModelError(f"{name!r} {why}, but {origin} is gone; name the file or folder where it is now")


def _only_origin(name: str, stored: Sequence[Manifest]) -> str:
    origins = sorted({manifest.source for manifest in stored})
    if len(origins) > 1:
        raise ModelError(
            f"the store has {len(origins)} models named {name!r}; name the file or folder of one: "
            + ", ".join(origins)
        )
    return origins[0]
