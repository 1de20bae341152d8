"""`index.json` of a store: a copy of all manifests in one file, for quick starts. It is never the truth.

A copied manifest counts only while the manifest itself is the same file. The index is written again whenever
it differs from what is there.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from frontend.models.files import write_atomically
from frontend.models.manifest import MANIFEST, Manifest, read_manifest
from ipc.model_files import FileFault, read_file

INDEX_FILE = "index.json"
_FORMAT = 1
_MAX_BYTES = 256 * 1024**2  # thousands of models take less


class Stamp(msgspec.Struct, frozen=True, array_like=True):
    """Differs once a manifest was replaced."""

    mtime_ns: int
    inode: int
    size: int


class Entry(msgspec.Struct, frozen=True):
    stamp: Stamp
    manifest: Manifest


class _Index(msgspec.Struct, frozen=True):
    format: int
    models: dict[str, Entry]  # KIND/FOLDER/REVISION → the model there


class Stored(NamedTuple):
    """A manifest and the folder that it describes."""

    path: Path
    manifest: Manifest


_decoder = msgspec.json.Decoder(_Index)


def read_all(root: Path, describe: Callable[[Path, Manifest], Manifest]) -> list[Stored]:
    """Every model of the store, ordered by path. `describe` completes a manifest that is not in the index."""
    known = _load(root / INDEX_FILE)
    found: dict[str, Entry] = {}
    for name, stamp in _scan(root):
        entry = known.get(name)
        if entry is None or entry.stamp != stamp:
            manifest = read_manifest(root / name)
            if manifest is None:
                continue
            entry = Entry(stamp, describe(root / name, manifest))
        found[name] = entry
    if found != known:
        with contextlib.suppress(OSError):  # a read-only store
            write_atomically(root / INDEX_FILE, msgspec.json.encode(_Index(_FORMAT, found)))
    return [Stored(root / name, entry.manifest) for name, entry in found.items()]


def _load(file: Path) -> dict[str, Entry]:
    try:
        index = _decoder.decode(read_file(file, _MAX_BYTES))
    except (FileFault, ValueError, RecursionError):
        return {}
    return index.models if index.format == _FORMAT else {}


def _scan(root: Path) -> Iterator[tuple[str, Stamp]]:
    """The folders that have a manifest."""
    for kind in _folders(root):
        for home in _folders(f"{root}/{kind}"):
            for revision in _folders(f"{root}/{kind}/{home}"):
                name = f"{kind}/{home}/{revision}"
                with contextlib.suppress(OSError):
                    status = os.stat(f"{root}/{name}/{MANIFEST}")  # noqa: PTH116 - a Path takes longer
                    yield name, Stamp(status.st_mtime_ns, status.st_ino, status.st_size)


def _folders(path: Path | str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(one.name for one in entries if one.is_dir() and _may_be_ours(one.name))
    except OSError:
        return []


def _may_be_ours(name: str) -> bool:
    """Bytes that are no text become characters that JSON cannot hold; no model has such a folder."""
    return name.isprintable() and not name.startswith(".")
