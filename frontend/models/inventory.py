"""The models that a store holds: found, copied, removed, and what this machine learned about them.

Builds none of them, and imports little, since short commands need it.
"""

import datetime
import hashlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from frontend.models.described import described
from frontend.models.files import write_durably
from frontend.models.locks import locked
from frontend.models.manifest import Manifest, Measured, Origin, Tuned, read_manifest, write_manifest
from frontend.models.shelf import Installed as Installed
from frontend.models.shelf import Shelf
from ipc.model_files import MAX_DOCUMENT_BYTES, FileFault, read_file

LEARNED = "learned"


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What this machine learned about a model."""

    path: str = ""
    measured: dict[str, Measured] = {}  # by device
    tuned: Tuned | None = None


class Inventory(Shelf):
    """What is in the store under one root folder, which need not exist."""

    def remove(self, name: str) -> int:
        """Remove a model, also what it was downloaded from. A user's own file stays.

        Returns the freed bytes. Raises ModelMissing, ModelInUse, or ModelError.
        """
        from frontend.models.changes import remove

        return remove(self, name)

    def check_removal(self, name: str, apart_from: Collection[int] = ()) -> None:
        """Raise what `remove` would raise now, if the processes with these ids had unloaded the model."""
        from frontend.models.changes import check_removal

        check_removal(self, name, apart_from)

    def copy(self, old: str, new: str, source: str = "", origin: Origin | None = None) -> Installed:
        """Give a model a second name, which is a model of its own with the same weights on the disk.

        `source` and `origin` are those of the second name, where they are not those of the first.

        Raises ModelMissing, ModelExists, ModelInUse, or ModelError.
        """
        from frontend.models.changes import copy

        return copy(self, old, new, source, origin)

    def learned(self, folder: Path) -> Learned:
        """What this machine learned about the model in an IR folder, of the store or any other."""
        if manifest := self._manifest_of(folder):
            return Learned(measured=manifest.measured, tuned=manifest.tuned)
        try:
            return msgspec.json.decode(read_file(self._outside(folder), MAX_DOCUMENT_BYTES), type=Learned)
        except (FileFault, ValueError, RecursionError):
            return Learned()

    def measured(
        self, model: str | Path, memory_bytes: int, load_seconds: float, device: str = "CPU"
    ) -> None:
        """Keep what a load took. `model` is a name, or an IR folder. Raises ModelMissing, OSError."""
        new = {device: Measured(memory_bytes, load_seconds)}
        self._learn(model, lambda known: {"measured": known.measured | new})

    def tune(self, model: str | Path, tuned: Tuned | None) -> None:
        """Keep what makes a model faster, or forget it (None). Raises ModelMissing, OSError."""
        self._learn(model, lambda _: {"tuned": tuned})

    def renew(self, folder: Path) -> None:
        """Make the model of this folder the newest of its name. Raises OSError."""
        with self._learning(folder):
            if manifest := self._manifest_of(folder):
                now = datetime.datetime.now(datetime.UTC)
                write_manifest(folder, msgspec.structs.replace(manifest, created=now))

    @contextmanager
    def _learning(self, folder: Path) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root, f"{LEARNED}/{folder.resolve()}"):
            yield

    def _learn(self, model: str | Path, change: Callable[[Learned], dict[str, Any]]) -> None:
        folder = model if isinstance(model, Path) else self.require(model).path
        with self._learning(folder):
            known = self.learned(folder)
            if manifest := self._manifest_of(folder):
                changed = msgspec.structs.replace(described(folder, manifest), **change(known))
                write_manifest(folder, changed)
            else:
                learned = msgspec.structs.replace(known, path=str(folder), **change(known))
                write_durably(self._outside(folder), msgspec.json.encode(learned))

    def _manifest_of(self, folder: Path) -> Manifest | None:
        """That of a folder in this store."""
        inside = folder.resolve().is_relative_to(self.root.resolve())
        return read_manifest(folder) if inside else None

    def _outside(self, folder: Path) -> Path:
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        return self.root / LEARNED / f"{name}.json"
