"""Finds the models that a store holds, by recipe and by name.

KIND/FOLDER/REVISION/        an IR folder with its manifest; copies have the kind `copies`
KIND/FOLDER/source/          what it was converted from, so that a new converter needs no network
partial/KEY/                 what was downloaded of a source, until it is complete
learned/HASH.json            what was measured of a folder outside the store
index.json                   a copy of all manifests, for quick starts
digests.json                 hashes of users' files
"""

import datetime
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from frontend.config_values import suggestion
from frontend.models.described import described
from frontend.models.errors import ModelMissing
from frontend.models.index import Stored, read_all
from frontend.models.manifest import Manifest, Recipe, canonical, is_complete, read_manifest
from frontend.models.versions import converter_versions
from frontend.shortened import quoted

SOURCE = "source"
COPIES = "copies"
PULLED = "pulled"
FILES = "files"  # converted from users' files
_AMBIGUOUS = re.compile(r"--|-/|/-")


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


class Shelf:
    """What is in the store under one root folder, which need not exist."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def home(self, recipe: Recipe) -> Path:
        """The folder of all revisions of a model."""
        return self.root / recipe.kind / folder_name(recipe.name)

    def folder(self, recipe: Recipe) -> Path:
        """The model's IR folder, which need not exist."""
        place = self.home(recipe) / recipe.revision
        old = self.root / recipe.kind / old_folder_name(recipe.name) / recipe.revision
        return old if old.is_dir() and not place.is_dir() else place

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
        """The model of this name. Of several: the newest current one."""
        wanted = canonical(name)
        return max((one for one in self.installed() if one.name == wanted), key=_rank, default=None)

    def installed_from(self, source: str) -> Installed | None:
        """The model that was made from this source, such as the path of a file, likewise. No copy of it."""
        made = (one for one in self.installed() if one.manifest.source == source and one.kind != COPIES)
        return max(made, key=_rank, default=None)

    def require(self, name: str) -> Installed:
        """The model of this name, or else that was made from this source. Raises ModelMissing."""
        if found := self.installed_named(name) or self.installed_from(name):
            return found
        from frontend.models.catalogue import load_catalogue

        if (bare := canonical(name)) in load_catalogue():
            raise ModelMissing(f"{bare} is not in the store; fetch it first: nacelle pull {bare}")
        names = sorted({one.name for one in self.installed()})
        hint = suggestion(name, names) or "; see nacelle list"
        raise ModelMissing(f"the store has no model {quoted(name)}{hint}")


def _rank(one: Installed) -> tuple[bool, datetime.datetime]:
    return one.is_current, one.manifest.created


def folder_name(name: str) -> str:
    """A model's name as that of a folder: those of hubs have slashes. No two names have the same."""
    if _AMBIGUOUS.search(name):
        name = name.replace("-", "~")  # which no name has
    return old_folder_name(name)


def old_folder_name(name: str) -> str:
    """What earlier versions called it, where `a/b` and `a--b` are one."""
    return name.replace("/", "--")
