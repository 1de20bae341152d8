"""The manifest of a stored model: what it is, where it came from, and what this machine learned about it.

Unknown fields, which a newer version wrote, are ignored; those that an older one did not write have defaults.
"""

import datetime
import hashlib
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from frontend.models.files import write_durably
from ipc.model_files import MAX_DOCUMENT_BYTES, FileFault, read_file

MANIFEST = "manifest.json"
LATEST = "latest"  # the tag that a name without one means


class Recipe(msgspec.Struct, frozen=True):
    """Everything that determines the content of a stored model.

    Another field would change the revisions of all models that are in stores already.
    """

    kind: str  # catalogue, files (of users), or pulled
    name: str
    sha256: str  # of the source
    converters: dict[str, str]  # package → version; none for files that are stored as they were
    generation: dict[str, bool | int | float] = {}

    @property
    def revision(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]


class Measured(msgspec.Struct, frozen=True):
    """What the last load on a device of this machine took."""

    memory_bytes: int  # of all hosts of the model, once it is ready
    load_seconds: float


class Tuned(msgspec.Struct, frozen=True):
    """What makes the model faster on this machine. It is weaker than any explicit setting."""

    properties: dict[str, str] = {}  # of OpenVINO
    settings: dict[str, Any] = {}  # name of a model setting → value, such as threads → 4
    goal: str = ""  # mixed, latency, throughput or prefill
    gain: float | None = None  # times as fast as before
    device: str = ""  # where that was found; empty: anywhere
    machine: str = ""  # likewise, as `machine_name` describes it


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model's files came from, as far as it is known."""

    kind: str = ""  # catalogue, file, folder, hub, url, …
    revision: str = ""  # of the source, for example a commit of a hub
    licence: str = ""
    sha256: dict[str, str] = {}  # file of the source → its SHA-256
    bytes: int = 0  # of the source


class Manifest(msgspec.Struct, frozen=True):
    """What a stored model is. It is written last, so that a folder with one is complete."""

    recipe: Recipe
    source: str  # a name of the catalogue, the path of the user's file or folder, a hub's id, or a URL
    created: Annotated[datetime.datetime, Meta(tz=True)]  # revisions are ordered by it
    files: dict[str, int]  # path in the folder → size in bytes
    name: str = ""  # empty: that of the recipe
    tag: str = LATEST
    origin: Origin = Origin()
    task: str = ""
    library: str = ""
    precision: str = ""  # of the weights, for example int4; empty if it is not stated
    parameters: int = 0  # elements of all weights; 0: unknown
    context_length: int | None = None
    openvino: str = ""  # the version that wrote the IR
    devices: list[str] = []  # that can run it; none: any
    measured: dict[str, Measured] = {}  # by device
    tuned: Tuned | None = None

    @property
    def full_name(self) -> str:
        """What `nacelle list` shows: NAME, or NAME:TAG unless the tag is latest."""
        return joined(self.name or self.recipe.name, self.tag)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(self.files.values())


def joined(name: str, tag: str) -> str:
    return name if tag == LATEST else f"{name}:{tag}"


def split_name(text: str) -> tuple[str, str]:
    """Name and tag of NAME[:TAG]."""
    name, _, tag = text.partition(":")
    return name, tag or LATEST


def canonical(text: str) -> str:
    """A model's name without a tag that says nothing: `m:latest` is `m`."""
    return text.removesuffix(f":{LATEST}") or text


def read_manifest(folder: Path) -> Manifest | None:
    """None if the folder has none, or a damaged one."""
    try:
        return msgspec.json.decode(read_file(folder / MANIFEST, MAX_DOCUMENT_BYTES), type=Manifest)
    except (FileFault, ValueError, RecursionError):
        return None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Readers see the old one or the new one, also after a power failure. Raises OSError."""
    write_durably(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


def file_sizes(folder: Path) -> dict[str, int]:
    """Path in the folder → size in bytes, of all files but the manifest."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
    sizes.pop(MANIFEST, None)
    return sizes


def is_complete(manifest: Manifest, folder: Path) -> bool:
    """Whether the folder holds every file of the manifest, in its size. It may hold more."""
    try:
        return all((folder / name).stat().st_size == size for name, size in manifest.files.items())
    except (OSError, ValueError):  # ValueError: a name with a null byte, in a damaged manifest
        return False
