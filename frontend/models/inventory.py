"""The models that a store holds: finds, names, copies and removes them. Builds none and imports little.

KIND/FOLDER/REVISION/        an IR folder with its manifest; copies have the kind `copies`
KIND/FOLDER/source/          what it was converted from, so that a new converter needs no network
partial/KEY/                 what was downloaded of a source, until it is complete
learned/HASH.json            what was measured of a folder outside the store
index.json                   a copy of all manifests, for quick starts
digests.json                 hashes of users' files
"""

import datetime
import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from frontend.config_values import suggestion
from frontend.models.described import described
from frontend.models.errors import ModelMissing
from frontend.models.files import write_durably
from frontend.models.index import Stored, read_all
from frontend.models.locks import locked
from frontend.models.manifest import (
    Manifest,
    Measured,
    Recipe,
    Tuned,
    canonical,
    is_complete,
    read_manifest,
    write_manifest,
)
from frontend.models.versions import converter_versions
from frontend.shortened import quoted

SOURCE = "source"
COPIES = "copies"
FILES = "files"  # converted from users' files
LEARNED = "learned"


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be served from the store by its name."""

    name: str  # NAME, or NAME:TAG
    manifest: Manifest
    path: Path  # its IR folder
    is_current: bool  # made by the converters of this version

    @property
    def kind(self) -> str:
        """That of its place in the store, which differs from its recipe's for a copy."""
        return self.path.parent.parent.name

    @property
    def task(self) -> str:
        return self.manifest.task

    @property
    def bytes(self) -> int:
        return self.manifest.bytes


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine learned about a model."""

    path: str = ""
    measured: Measured | None = None
    tuned: Tuned | None = None


class Inventory:
    """What is in the store under one root folder, which need not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def home(self, recipe: Recipe) -> Path:
        """The folder of all revisions of a model."""
        return self.root / recipe.kind / folder_name(recipe.name)

    def folder(self, recipe: Recipe) -> Path:
        """The model's IR folder, which need not exist."""
        return self.home(recipe) / recipe.revision

    def find(self, recipe: Recipe) -> Path | None:
        """The model's IR folder if it is there and complete."""
        folder = self.folder(recipe)
        manifest = read_manifest(folder)
        return folder if manifest and is_complete(manifest, folder) else None

    def stored(self) -> list[Stored]:
        """Everything with a manifest: also what is damaged, or made by other versions of the converters."""
        return read_all(self.root, described)

    def manifests(self) -> Iterator[Manifest]:
        """The same without the folders."""
        return (stored.manifest for stored in self.stored())

    def installed(self) -> list[Installed]:
        """The complete models by name. Of several revisions of one source: that of these converters, or the
        newest."""
        converters = converter_versions()
        best: dict[tuple[str, str, str], Installed] = {}
        for path, manifest in self.stored():
            if not is_complete(manifest, path):
                continue
            made_by = manifest.recipe.converters
            one = Installed(
                name=manifest.full_name,
                manifest=manifest,
                path=path,
                is_current=not made_by or made_by == converters,
            )
            key = (one.kind, one.name, manifest.source)
            if key not in best or _rank(one) > _rank(best[key]):
                best[key] = one
        return sorted(best.values(), key=lambda one: (one.name, one.manifest.source))

    def installed_named(self, name: str) -> Installed | None:
        """The model of this name, or that was made from this path. Of several: the newest current one."""
        wanted, installed = canonical(name), self.installed()
        named = [one for one in installed if one.name == wanted]
        made = [one for one in installed if one.manifest.source == name and one.kind != COPIES]
        return max(named or made, key=_rank, default=None)

    def require(self, name: str) -> Installed:
        """The same. Raises ModelMissing."""
        if found := self.installed_named(name):
            return found
        from frontend.models.catalogue import load_catalogue

        if (bare := canonical(name)) in load_catalogue():
            raise ModelMissing(f"{bare} is not in the store; fetch it first: nacelle pull {bare}")
        names = sorted({one.name for one in self.installed()})
        hint = suggestion(name, names) or "; see nacelle list"
        raise ModelMissing(f"the store has no model {quoted(name)}{hint}")

    def remove(self, name: str) -> int:
        """Remove a model, also what it was downloaded from. A user's own file stays.

        Returns the freed bytes. Raises ModelMissing, ModelInUse, or ModelError.
        """
        from frontend.models.changes import remove

        return remove(self, name)

    def copy(self, old: str, new: str) -> Installed:
        """Give a model a second name, which is a model of its own with the same weights on the disk.

        Raises ModelMissing, ModelExists, ModelInUse, or ModelError.
        """
        from frontend.models.changes import copy

        return copy(self, old, new)

    def learned(self, folder: Path) -> Learned:
        """What this machine learned about the model in an IR folder, of the store or any other."""
        if manifest := self._manifest_of(folder):
            return Learned(measured=manifest.measured, tuned=manifest.tuned)
        try:
            return msgspec.json.decode(self._outside(folder).read_bytes(), type=Learned)
        except (OSError, msgspec.MsgspecError):
            return Learned()

    def measured(
        self, model: str | Path, memory_bytes: int, load_seconds: float, device: str = "CPU"
    ) -> None:
        """Keep what a load took. `model` is a name, or an IR folder. Raises ModelMissing, OSError."""
        self._learn(model, measured=Measured(memory_bytes, load_seconds, device))

    def tune(self, model: str | Path, tuned: Tuned | None) -> None:
        """Keep what makes a model faster, or forget it (None). Raises ModelMissing, OSError."""
        self._learn(model, tuned=tuned)

    def _learn(self, model: str | Path, **what: Measured | Tuned | None) -> None:
        folder = model if isinstance(model, Path) else self.require(model).path
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root, f"{LEARNED}/{folder.resolve()}"):
            if manifest := self._manifest_of(folder):
                write_manifest(folder, msgspec.structs.replace(described(folder, manifest), **what))
            else:
                learned = msgspec.structs.replace(self.learned(folder), path=str(folder), **what)
                write_durably(self._outside(folder), msgspec.json.encode(learned))

    def _manifest_of(self, folder: Path) -> Manifest | None:
        """That of a folder in this store."""
        inside = folder.resolve().is_relative_to(self.root.resolve())
        return read_manifest(folder) if inside else None

    def _outside(self, folder: Path) -> Path:
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        return self.root / LEARNED / f"{name}.json"


def _rank(one: Installed) -> tuple[bool, datetime.datetime]:
    return one.is_current, one.manifest.created


def folder_name(name: str) -> str:
    """A model's name as that of a folder: those of hubs have slashes."""
    return name.replace("/", "--")
