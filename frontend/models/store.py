"""The store of converted models: each is built once, completely or not at all, and found without network.

    catalogue/NAME/source/       what was fetched, so that a new converter needs no network
    catalogue/NAME/REVISION/     an OpenVINO IR folder with manifest.json
    files/NAME/REVISION/         the same, converted from a user's file or folder
    digests.json                 hashes of users' files

A revision is built in a `partial-…` folder beside it and renamed. The process that builds holds the store's
lock; the next holder of the lock removes what a crash left behind. Finding a model takes no lock.
"""

import contextlib
import datetime
import errno
import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec

from frontend.models.child import Ended, run_module
from frontend.models.digests import DigestCache
from frontend.models.errors import ModelError
from frontend.models.reporter import Reporter, Silent
from ipc.conversion import FAILURE, NOTE

_MANIFEST = "manifest.json"
_PARTIAL = "partial-"
_CONVERTERS = ("openvino", "openvino-genai", "openvino-tokenizers")
_OWN_CONVERTER = "3"  # counts changes of what host.convert writes

Convert = Callable[[Path, Path, Reporter], None]
Check = Callable[[Path], None]
Obtain = Callable[[Path], Path]


class Recipe(msgspec.Struct, frozen=True):
    """Everything that determines the content of a stored model."""

    kind: Literal["catalogue", "files"]
    name: str
    sha256: str  # of the source
    converters: dict[str, str]  # package → version
    generation: dict[str, bool | int | float] = {}

    @property
    def revision(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()[:16]


class Manifest(msgspec.Struct, frozen=True):
    """What a stored model is, written last."""

    recipe: Recipe
    source: str  # a name of the catalogue, or the path of the user's file or folder
    created: datetime.datetime
    files: dict[str, int]  # path in the folder → size in bytes


def converter_versions() -> dict[str, str]:
    """Versions of everything that converts models. Imports none of it."""
    return {package: metadata.version(package) for package in _CONVERTERS} | {"nacelle": _OWN_CONVERTER}


def convert(source: Path, folder: Path, reporter: Reporter | None = None) -> None:
    """Write the IR of a source file or folder into `folder`, in a process of its own. Raises ModelError.

    If this process is killed meanwhile, `folder` is removed, and the folder around it if that is empty then.
    """
    report = reporter or Silent()

    def on_line(line: str) -> None:
        if line.startswith(NOTE):
            report.note(line.removeprefix(NOTE))

    ended = run_module("host.convert", [str(source), str(folder), "--lifeline"], on_line, lifeline=True)
    _raise_if_failed(source, ended)


def check(gguf: Path) -> None:
    """Look at a GGUF file's header, in a process of its own. Raises ModelError if it cannot be converted."""
    _raise_if_failed(gguf, run_module("host.convert", ["--check", str(gguf)]))


def _raise_if_failed(source: Path, ended: Ended) -> None:
    if ended.status == 0:
        return
    line = next((line for line in reversed(ended.lines) if line.startswith(FAILURE)), None)
    raise ModelError(line or f"{FAILURE}{source.name}: {ended.last_words}")


class Store:
    """The store under one root folder, which need not exist yet."""

    def __init__(self, root: Path, reporter: Reporter, convert: Convert = convert) -> None:
        self._root = root
        self._reporter = reporter
        self._convert = convert
        self.digests = DigestCache(root / "digests.json")

    @property
    def root(self) -> Path:
        return self._root

    def home(self, recipe: Recipe) -> Path:
        """The folder of all revisions of a model."""
        return self._root / recipe.kind / recipe.name

    def folder(self, recipe: Recipe) -> Path:
        """The model's IR folder, which need not exist."""
        return self.home(recipe) / recipe.revision

    def find(self, recipe: Recipe) -> Path | None:
        """The model's IR folder if it is there and complete."""
        folder = self.folder(recipe)
        manifest = _read_manifest(folder)
        return folder if manifest and manifest.files.items() <= _file_sizes(folder).items() else None

    def ensure(self, recipe: Recipe, source: str, obtain: Obtain) -> Path:
        """The model's IR folder, which is built first unless it exists. Raises ModelError.

        `source` names the model's origin for people. `obtain` returns the file or folder to convert; it may
        create it in the folder that it is given, which is removed afterwards.
        """
        if found := self.find(recipe):
            self._sweep_unless_busy()
            return found
        home = self.home(recipe)
        try:
            home.parent.mkdir(parents=True, exist_ok=True)  # with the root, which has the lock
            with self._lock():
                self._sweep()
                return self.find(recipe) or self._build(recipe, source, home, obtain)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            remedy = f"{'free some space, or ' if full else ''}choose another store with --store"
            reason = error.strerror or error
            raise ModelError(f"cannot store {recipe.name} in {home}: {reason}; {remedy}") from error

    def converted(self, name: str) -> list[Manifest]:
        """The models of this name, or from this path, that were converted from users' files, by any version
        of the converters."""
        return [
            manifest
            for manifest in self.manifests()
            if manifest.recipe.kind == "files" and name in (manifest.recipe.name, manifest.source)
        ]

    def manifests(self) -> Iterator[Manifest]:
        """Every model in the store, including those of other converter versions."""
        for file in sorted(self._root.glob(f"*/*/*/{_MANIFEST}")):
            if manifest := _read_manifest(file.parent):
                yield manifest

    def _build(self, recipe: Recipe, source: str, home: Path, obtain: Obtain) -> Path:
        """Only for the holder of the lock: another process may be about to build in the same home."""
        with _folder_while_needed(home), tempfile.TemporaryDirectory(prefix=_PARTIAL, dir=home) as scratch:
            original = obtain(Path(scratch))
            self._reporter.step(f"Converting {recipe.name} for OpenVINO")
            built = Path(scratch) / "ir"
            built.mkdir()
            self._convert(original, built, self._reporter)
            _merge_generation_defaults(built, recipe.generation)
            manifest = Manifest(recipe, source, datetime.datetime.now(datetime.UTC), _file_sizes(built))
            (built / _MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
            target = self.folder(recipe)
            shutil.rmtree(target, ignore_errors=True)  # a damaged one, or find() would have had it
            return built.rename(target)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self._root / ".lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._reporter.step("Waiting for another process that prepares a model")
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _sweep(self) -> None:
        """Remove what crashes left. Only for the holder of the lock."""
        for partial in self._root.glob(f"*/*/{_PARTIAL}*"):
            shutil.rmtree(partial, ignore_errors=True)

    def _sweep_unless_busy(self) -> None:
        """The same, unless somebody is building a model."""
        if next(self._root.glob(f"*/*/{_PARTIAL}*"), None) is None:
            return
        with contextlib.suppress(OSError), (self._root / ".lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sweep()


@contextmanager
def _folder_while_needed(folder: Path) -> Iterator[None]:
    """Create the folder, and remove it if it is empty in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _read_manifest(folder: Path) -> Manifest | None:
    try:
        return msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError):
        return None


def _file_sizes(folder: Path) -> dict[str, int]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
    sizes.pop(_MANIFEST, None)
    return sizes


def _merge_generation_defaults(folder: Path, defaults: dict[str, bool | int | float]) -> None:
    if not defaults:
        return
    path = folder / "generation_config.json"
    present = msgspec.json.decode(path.read_bytes(), type=dict[str, object]) if path.exists() else {}
    path.write_bytes(msgspec.json.format(msgspec.json.encode({**present, **defaults})))
