"""What killed processes left in a store, and how it is removed without disturbing those at work."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from frontend.models.files import empty_trash
from frontend.models.locks import Busy, locked_at_once

SCRATCH = "partial-"  # begins the names of folders in which models are built
PARTIAL = "partial"  # the folder of downloads that can be resumed
_WRITTEN_SECONDS = 3600.0  # no small file takes that long
_KEPT_SECONDS = 14 * 86_400.0  # of such a download


def sweep(root: Path) -> None:
    """Remove what nobody will miss: half-built models, and downloads that nobody resumed for two weeks."""
    for home in {scratch.parent for scratch in scratches(root)}:
        with contextlib.suppress(Busy, OSError), locked_at_once(root, lock_of(home)):
            clear(home)
            home.rmdir()  # which fails where there is more
    before = time.time() - _KEPT_SECONDS
    for download in downloads(root):
        with contextlib.suppress(Busy, OSError), locked_at_once(root, lock_of(download)):
            if newest_change(download) < before:
                shutil.rmtree(download)
    with contextlib.suppress(OSError):
        empty_trash(root)


def clear(home: Path) -> None:
    """Remove half-built models. Only for the holder of the home's lock."""
    for scratch in home.glob(f"{SCRATCH}*"):
        shutil.rmtree(scratch, ignore_errors=True)


def scratches(root: Path) -> Iterator[Path]:
    """The folders in which models are being built, or were when a process was killed."""
    return root.glob(f"*/*/{SCRATCH}*")


def downloads(root: Path) -> list[Path]:
    """The folders of downloads that are under way, or can be resumed."""
    folder = root / PARTIAL
    return sorted(folder.iterdir()) if folder.is_dir() else []


def stray_files(root: Path) -> list[Path]:
    """Files that were about to replace others when a process was killed."""
    before = time.time() - _WRITTEN_SECONDS
    found = [*root.glob(".*.json-*"), *root.glob("*/*/*/.*.json-*")]
    return sorted(file for file in found if file.stat().st_mtime < before)


def lock_of(folder: Path) -> str:
    """The lock of a folder on the second level of a store."""
    return f"{folder.parent.name}/{folder.name}"


def newest_change(folder: Path) -> float:
    """When something in the folder was last written, in Unix seconds."""
    return max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
