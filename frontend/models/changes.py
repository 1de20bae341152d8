"""Copies and removes models of a store.

A copy is a model of its own, with a folder and a manifest. It shares the weights with the first one.
"""

import datetime
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import msgspec

from frontend.models.errors import ModelError, ModelExists, ModelInUse, is_full
from frontend.models.files import bytes_of, remove_tree, share, sync_tree
from frontend.models.leftovers import SCRATCH, clear, lock_of
from frontend.models.locks import Busy, locked_at_once
from frontend.models.manifest import LATEST, Origin, canonical, read_manifest, split_name, write_manifest
from frontend.models.shelf import COPIES, Installed, Shelf, folder_name, old_folder_name
from frontend.shortened import quoted, shown_path
from ipc.in_use import InUse, unused, users_of

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+/-]{0,127}(:[A-Za-z0-9][A-Za-z0-9._-]{0,63})?")
_SHARED_FROM = 64 * 1024  # bytes; smaller files are copied, since somebody may edit them
_RESERVED = {"synthetic"}  # names that mean something else to `nacelle serve`


@contextmanager
def _changing(store: Shelf) -> Iterator[None]:
    """Raises ModelError in place of OSError."""
    try:
        yield
    except shutil.Error as error:  # of several files; one reason is enough
        source, _, why = error.args[0][0]
        reason = shown_path(str(why).replace(str(source), Path(source).name))
        raise ModelError(f"cannot copy the model: {reason}; remove it and pull it again") from error
    except OSError as error:
        remedy = "; free some space with nacelle prune" if is_full(error) else ""
        raise ModelError(
            f"cannot change the store {store.root}: {error.strerror or error}{remedy}"
        ) from error


def check_removal(store: Shelf, name: str, apart_from: Collection[int]) -> None:
    """See Inventory.check_removal."""
    one = _only(store, name)
    home = one.path.parent
    with _changing(store), _not_in_preparation(store, home, one.name):
        for path in _revisions_of(one):
            if users := set(users_of(path)) - set(apart_from):
                raise _in_use(one.name, users)
            for folder in (home, path):
                if not os.access(folder, os.W_OK | os.X_OK):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def remove(store: Shelf, name: str) -> int:
    """See Inventory.remove."""
    one = _only(store, name)
    home = one.path.parent
    with _changing(store), _not_in_preparation(store, home, one.name), ExitStack() as stack:
        doomed = _revisions_of(one)
        for path in doomed:
            _claim(stack, path, one.name)
        if len(doomed) == len(_revisions(home)):
            doomed = [home]
        freed = bytes_of(doomed)
        for path in doomed:
            remove_tree(store.root, path)
    return freed


def _only(store: Shelf, name: str) -> Installed:
    """The model of this name. Raises ModelMissing, or ModelError if several have it."""
    one = store.require(name)
    sources = sorted({each.manifest.source for each in store.installed() if each.name == one.name})
    if len(sources) > 1 and name != one.manifest.source:
        raise ModelError(
            f"the store has {len(sources)} models named {one.name!r}; name what one was converted from: "
            + ", ".join(sources)
        )
    return one


@contextmanager
def _not_in_preparation(store: Shelf, home: Path, name: str) -> Iterator[None]:
    """Raises ModelInUse."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked_at_once(store.root, lock_of(home)))
        except Busy as error:
            raise ModelInUse(f"another process is preparing {name}; try again when it has ended") from error
        yield


def _revisions(home: Path) -> list[tuple[Path, tuple[str, str]]]:
    """The revisions in a home, and the name and source of each."""
    return [
        (path, (manifest.full_name, manifest.source))
        for path in sorted(home.iterdir())
        if path.is_dir() and (manifest := read_manifest(path)) is not None
    ]


def _revisions_of(one: Installed) -> list[Path]:
    identity = (one.name, one.manifest.source)
    return [path for path, found in _revisions(one.path.parent) if found == identity]


def _claim(stack: ExitStack, folder: Path, name: str) -> None:
    try:
        stack.enter_context(unused(folder))
    except InUse as error:
        raise _in_use(name, users_of(folder)) from error


def _in_use(name: str, users: Collection[int]) -> ModelInUse:
    by = f" (engine process {', '.join(map(str, sorted(users)))})" if users else ""
    return ModelInUse(f"{name} is loaded by a running server{by}; unload it first: nacelle unload {name}")


def copy(store: Shelf, old: str, new: str, source: str = "", origin: Origin | None = None) -> Installed:
    """See Inventory.copy."""
    one, name = store.require(old), canonical(new)
    _check_name(store, name)
    base, tag = split_name(name)
    home, *older = _homes_of_copies(store, base, tag)
    with _changing(store), ExitStack() as stack:
        for each in (home, *older):
            stack.enter_context(_not_in_preparation(store, each, name))
        home.mkdir(parents=True, exist_ok=True)
        clear(home)
        revisions = [revision for each in (home, *older) for revision in _revisions(each)]
        replaced = [path for path, (found, _) in revisions if found == name]
        if one.path in replaced:
            return one
        for path in replaced:
            _claim(stack, path, name)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=home) as scratch:
            folder = Path(scratch) / "ir"
            shutil.copytree(one.path, folder, copy_function=partial(_share, store.root))
            now = datetime.datetime.now(datetime.UTC)
            manifest = msgspec.structs.replace(
                one.manifest,
                name=base,
                tag=tag,
                created=now,
                source=source or one.manifest.source,
                origin=origin or one.manifest.origin,
            )
            write_manifest(folder, manifest)
            sync_tree(folder)
            target = home / one.path.name
            if target.exists():
                target = Path(tempfile.mkdtemp(prefix=f"{one.path.name}-", dir=home))
            folder.replace(target)
        for path in replaced:
            remove_tree(store.root, path)
    return store.require(name)


def _homes_of_copies(store: Shelf, base: str, tag: str) -> list[Path]:
    """Where copies of this name are, and where earlier versions put them if that differs and is there."""
    suffix = "" if tag == LATEST else f"={tag}"
    home, old = (store.root / COPIES / f"{named(base)}{suffix}" for named in (folder_name, old_folder_name))
    return [home, old] if old != home and old.is_dir() else [home]


def _share(root: Path, source: str, target: str) -> None:
    """A second name for a large file of the store, and a copy of a small one."""
    if Path(source).stat().st_size >= _SHARED_FROM:
        share(root, Path(source), Path(target))
    else:
        shutil.copy2(source, target)


def _check_name(store: Shelf, name: str) -> None:
    """Raises ModelError for a name that cannot be one, or that another model has."""
    if not _NAME.fullmatch(name) or "//" in name:
        raise ModelError(
            f"{quoted(name)} cannot be a model's name; write NAME or NAME:TAG of letters, digits and ._@+-/"
        )
    from frontend.models.catalogue import load_catalogue

    if name in load_catalogue() or split_name(name)[0] in _RESERVED:
        raise ModelExists(f"{name} is a name of the catalogue; choose another one, for example {name}:mine")
    taken = store.installed_named(name)
    if taken and taken.kind != COPIES:
        raise ModelExists(f"there is a model {name} already; remove it first: nacelle rm {name}")
