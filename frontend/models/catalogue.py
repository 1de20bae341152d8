"""The models that can be served by name, from `catalogue.toml` beside this file."""

from pathlib import Path
from typing import Annotated

import msgspec

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class WheelSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="wheel"):
    """A file inside a wheel of a package index."""

    package: str
    version: str
    sha256: Sha256  # of the wheel
    member: str

    @property
    def title(self) -> str:
        return f"{self.package} {self.version} from the package index"


class UrlSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="url"):
    """A file on the web."""

    url: str

    @property
    def title(self) -> str:
        return self.url


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model of the catalogue. All its sources yield the same GGUF file."""

    description: str
    licence: str
    file: str
    bytes: int
    sha256: Sha256
    sources: Annotated[list[WheelSource | UrlSource], msgspec.Meta(min_length=1)]
    generation: dict[str, bool | int | float] = {}


def load_catalogue(path: Path | None = None) -> dict[str, Entry]:
    """Name to entry, in the file's order. `path` stands in for the built-in catalogue."""
    import tomllib  # a start from a folder or a synthetic model never needs it

    path = path or Path(__file__).with_name("catalogue.toml")
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), dict[str, Entry])
