"""Looks at a folder of this machine as if it were a repository."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from frontend.models.errors import ModelError
from frontend.models.folder import read_json


def sizes_of(folder: Path) -> dict[str, int]:
    """Name → size in bytes, of all files below. Raises ModelError."""
    try:
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    except OSError as error:
        raise ModelError(f"cannot read {folder}: {error.strerror}") from error


def documents_of(folder: Path, names: Iterable[str]) -> dict[str, object]:
    """The contents of JSON files; those that are too large or damaged are left out."""
    found: dict[str, object] = {}
    for name in names:
        with contextlib.suppress(OSError):
            if (content := read_json(folder / name)) is not None:
                found[name] = content
    return found


def hashes_of(folder: Path, names: Iterable[str], sha256: Callable[[Path], str]) -> dict[str, str]:
    """Name → SHA-256 of the files. Raises ModelError."""
    try:
        return {name: sha256(folder / name) for name in names}
    except OSError as error:
        raise ModelError(f"cannot read {folder}: {error.strerror}") from error
