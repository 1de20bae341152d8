"""The store of models: each is built once, completely or not at all, and found without network.

A revision is built in a `partial-…` folder beside it and renamed. The process that builds a model holds the
lock of that model: others that want the same wait for it, and other models can be built meanwhile. The next
holder of the lock removes what a crash left behind. Finding a model takes no lock.
"""

import contextlib
import datetime
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from frontend.models.converter import convert
from frontend.models.described import described
from frontend.models.digests import DigestCache
from frontend.models.errors import ModelError, store_remedy
from frontend.models.files import remove_tree, sync_tree
from frontend.models.inventory import Inventory
from frontend.models.leftovers import PARTIAL, SCRATCH, clear, lock_of, scratches, sweep
from frontend.models.locks import locked
from frontend.models.manifest import LATEST, Manifest, Origin, Recipe, file_sizes, write_manifest
from frontend.models.reporter import Reporter
from frontend.models.shelf import FILES

Convert = Callable[[Path, Path, Reporter], None]
Check = Callable[[Path], None]
Obtain = Callable[[Path], Path]


class Store(Inventory):
    """The store under one root folder, which need not exist yet."""

    def __init__(self, root: Path, reporter: Reporter, convert: Convert = convert) -> None:
        super().__init__(root)
        self._reporter = reporter
        self.convert = convert
        self.digests = DigestCache(root / "digests.json")

    def ensure(
        self,
        recipe: Recipe,
        source: str,
        obtain: Obtain,
        *,
        convert: Convert | None = None,
        origin: Origin | None = None,
        tag: str = LATEST,
    ) -> Path:
        """The model's IR folder, which is built first unless it exists. Raises ModelError.

        `source` names the model's origin for people. `obtain` returns the file or folder to convert; it may
        create it in the folder that it is given, which is removed afterwards. `convert` fills an empty
        folder and reports the step; by default it is the store's own converter.
        """
        if found := self.find(recipe):
            if next(scratches(self.root), None):
                sweep(self.root)
            return found
        home = self.home(recipe)
        manifest = Manifest(
            recipe, source, datetime.datetime.now(datetime.UTC), {}, tag=tag, origin=origin or Origin()
        )
        try:
            home.parent.mkdir(parents=True, exist_ok=True)  # with the root, which has the locks
            with locked(self.root, lock_of(home), self._waiting):
                if found := self.find(recipe):
                    return found
                clear(home)
                built = self._build(manifest, home, obtain, convert)
            sweep(self.root)
            return built
        except OSError as error:
            reason = error.strerror or error
            raise ModelError(
                f"cannot store {recipe.name} in {home}: {reason}; {store_remedy(error)}"
            ) from error

    @contextmanager
    def downloading(self, key: str) -> Iterator[Path]:
        """A folder for a download that can be resumed, kept until the block ends without an error.

        `key` identifies the content, for example by its SHA-256. Only one process at a time has the folder;
        others wait. Raises OSError.
        """
        folder = self.root / PARTIAL / key
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root, lock_of(folder), self._waiting):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                yield folder
                remove_tree(self.root, folder)
            finally:
                for empty in (folder, folder.parent):
                    with contextlib.suppress(OSError):  # there is something to resume from
                        empty.rmdir()

    def converted(self, name: str) -> list[Manifest]:
        """The models of this name, or from this path, that were converted from users' files, by any version
        of the converters."""
        return [
            manifest
            for path, manifest in self.stored()
            if path.parent.parent.name == FILES and name in (manifest.recipe.name, manifest.source)
        ]

    def _waiting(self) -> None:
        self._reporter.step("Waiting for another process that prepares a model")

    def _build(self, manifest: Manifest, home: Path, obtain: Obtain, convert: Convert | None) -> Path:
        """Only for the holder of the lock: another process may be about to build in the same home."""
        recipe = manifest.recipe
        with _folder_while_needed(home), tempfile.TemporaryDirectory(prefix=SCRATCH, dir=home) as scratch:
            original = obtain(Path(scratch))
            built = Path(scratch) / "ir"
            built.mkdir()
            if convert is None:
                self._reporter.step(f"Converting {recipe.name} for OpenVINO")
            (convert or self.convert)(original, built, self._reporter)
            _merge_generation_defaults(built, recipe.generation)
            whole = msgspec.structs.replace(manifest, files=file_sizes(built))
            write_manifest(built, described(built, whole))
            sync_tree(built)
            target = home / recipe.revision
            if target.exists():  # a damaged one, or find() would have had it
                remove_tree(self.root, target)
            return built.rename(target)


@contextmanager
def _folder_while_needed(folder: Path) -> Iterator[None]:
    """Create the folder, and remove it if it is empty in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _merge_generation_defaults(folder: Path, defaults: dict[str, bool | int | float]) -> None:
    if not defaults:
        return
    path = folder / "generation_config.json"
    present = msgspec.json.decode(path.read_bytes(), type=dict[str, object]) if path.exists() else {}
    path.write_bytes(msgspec.json.format(msgspec.json.encode({**present, **defaults})))
