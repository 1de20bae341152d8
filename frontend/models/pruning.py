"""What a store can do without: plans it first, so that a dry run and a real one agree."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from frontend.models.digests import DigestCache
from frontend.models.files import TRASH, bytes_of, empty_trash, remove_tree
from frontend.models.inventory import Inventory
from frontend.models.leftovers import PARTIAL, SCRATCH, downloads, lock_of, scratches, stray_files
from frontend.models.locks import Busy, is_held, locked_at_once
from frontend.models.manifest import MANIFEST, Manifest, is_complete, read_manifest
from frontend.models.shelf import COPIES, PULLED, SOURCE
from frontend.models.versions import converter_versions
from ipc.in_use import InUse, unused

OLD = "made by other versions of the converters"
REPLACED = "replaced by a newer revision of its source"
DAMAGED = "damaged"
INTERRUPTED = "left by an interrupted pull or removal"
SOURCES = "kept to convert it again"


class Needless(msgspec.Struct, frozen=True):
    """A folder that can go, why, and what that frees."""

    path: Path
    why: str
    bytes: int


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    removed: list[Needless]
    kept: list[Needless]  # in use by another process
    digests: int  # hashes of files that are gone or have changed

    @property
    def bytes(self) -> int:
        return bytes_freed(self.removed)


def bytes_freed(needless: list[Needless]) -> int:
    return sum(one.bytes for one in needless)


def plan(store: Inventory, *, sources: bool = True) -> list[Needless]:
    """What can be removed without the loss of a model. Its last revision stays, even an old one: a newer
    converter may need what nobody can fetch again."""
    found = [(path, INTERRUPTED) for path in _interrupted(store.root)]
    for home in _homes(store.root):
        mine: list[tuple[Path, str]] = []
        with contextlib.suppress(FileNotFoundError):  # somebody else has just removed it
            mine = list(_of_home(home, sources))
        if any(why == INTERRUPTED for _, why in mine) and is_held(store.root, lock_of(home)):
            continue  # it is being built
        found += mine
    return [Needless(path, why, bytes_of([path])) for path, why in found]


def prune(store: Inventory, *, sources: bool = True, dry_run: bool = False) -> Pruned:
    """Remove it. What another process uses stays. Raises OSError."""
    removed: list[Needless] = []
    kept: list[Needless] = []
    for one in plan(store, sources=sources):
        (removed if dry_run or _remove(store.root, one, sources) else kept).append(one)
    digests = DigestCache(store.root / "digests.json").forget_stale(dry_run=dry_run)
    if not dry_run:
        with contextlib.suppress(OSError):
            empty_trash(store.root)
            for file in stray_files(store.root):
                file.unlink()
    return Pruned(removed=removed, kept=kept, digests=digests)


def _interrupted(root: Path) -> Iterator[Path]:
    for path in [*scratches(root), *downloads(root)]:
        owner = path if path.parent.name == PARTIAL else path.parent
        if not is_held(root, lock_of(owner)):
            yield path
    trash = root / TRASH
    yield from sorted(trash.iterdir()) if trash.is_dir() else ()


def _homes(root: Path) -> list[Path]:
    """The folders of models, not of downloads."""
    kinds = [kind for kind in root.iterdir() if kind.is_dir()] if root.is_dir() else []
    usual = [kind for kind in kinds if kind.name != PARTIAL and not kind.name.startswith(".")]
    return sorted(home for kind in usual for home in kind.iterdir() if home.is_dir())


def _of_home(home: Path, sources: bool) -> Iterator[tuple[Path, str]]:
    whole, converters = {}, converter_versions()
    for path in sorted(path for path in home.iterdir() if (path / MANIFEST).exists()):
        manifest = read_manifest(path)
        if manifest and is_complete(manifest, path):
            whole[path] = manifest
        else:
            yield path, DAMAGED
    needed = {
        (manifest.full_name, manifest.source)
        for manifest in whole.values()
        if not manifest.recipe.converters or manifest.recipe.converters == converters
    }
    if home.parent.name == PULLED:
        yield from ((path, REPLACED) for path in _replaced(whole))
    if home.parent.name != COPIES:
        for path, manifest in whole.items():
            old = manifest.recipe.converters and manifest.recipe.converters != converters
            if old and (manifest.full_name, manifest.source) in needed:
                yield path, OLD
    if not whole and (home / SOURCE).exists():  # the conversion was killed
        yield home / SOURCE, INTERRUPTED
    elif sources and needed and (home / SOURCE).exists():
        yield home / SOURCE, SOURCES


def _replaced(whole: dict[Path, Manifest]) -> Iterator[Path]:
    """Revisions that no converter made, but the newest of each source."""
    stored = {path: manifest for path, manifest in whole.items() if not manifest.recipe.converters}
    newest: dict[tuple[str, str], Path] = {}
    for path, manifest in sorted(stored.items(), key=lambda item: item[1].created):
        newest[manifest.full_name, manifest.source] = path
    yield from (path for path in stored if path not in newest.values())


def _remove(root: Path, one: Needless, sources: bool) -> bool:
    """Whether it is gone: nobody used it, and nobody has come to need it since it was planned."""
    if one.path.parent.name == TRASH:
        return True  # emptied in the end
    owner = one.path if one.path.parent.name == PARTIAL else one.path.parent
    try:
        with locked_at_once(root, lock_of(owner)):
            if not _is_still(one, owner, sources):
                return not one.path.exists()
            with unused(one.path):
                remove_tree(root, one.path)
            with contextlib.suppress(OSError):
                one.path.parent.rmdir()  # if it was the last
    except FileNotFoundError:  # somebody else removed it
        return True
    except (Busy, InUse):
        return False
    return True


def _is_still(one: Needless, owner: Path, sources: bool) -> bool:
    """Whether it can go for the same reason. Only for the holder of the lock."""
    if owner == one.path or one.path.name.startswith(SCRATCH):
        return one.path.exists()
    return (one.path, one.why) in _of_home(owner, sources)
