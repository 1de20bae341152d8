"""What loads took before, for the decisions about the next ones."""

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import msgspec

from frontend.models.inventory import Inventory

log = logging.getLogger("nacelle.residency")


class Measurement(msgspec.Struct, frozen=True):
    memory_bytes: int  # that one host held when it was ready, before its KV cache was used
    load_seconds: float


class Measurements(Protocol):
    def recall(self, path: str, device: str) -> Measurement | None:
        """Of the model in this folder, as far as it was loaded on this device before."""

    def remember(self, path: str, device: str, measurement: Measurement) -> None: ...


class WhileRunning:
    """Remembers for as long as the server runs."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Measurement] = {}

    def recall(self, path: str, device: str) -> Measurement | None:
        return self._known.get((path, device))

    def remember(self, path: str, device: str, measurement: Measurement) -> None:
        self._known[path, device] = measurement


class InStore:
    """Remembers in the store, beside the model where it is one of the store's."""

    def __init__(self, root: Path) -> None:
        self._store = Inventory(root)
        self._writer = ThreadPoolExecutor(1, "measurements")  # a disk may be slow, and a store locked

    def recall(self, path: str, device: str) -> Measurement | None:
        measured = self._store.learned(Path(path)).measured if path else None
        if measured is None or measured.device != device:
            return None
        return Measurement(measured.memory_bytes, measured.load_seconds)

    def remember(self, path: str, device: str, measurement: Measurement) -> None:
        if path:
            self._writer.submit(self._write, Path(path), device, measurement)

    def _write(self, path: Path, device: str, measurement: Measurement) -> None:
        try:
            self._store.measured(path, measurement.memory_bytes, measurement.load_seconds, device)
        except Exception as error:  # the next decision is made without it
            log.debug("what the load of %s took was not stored: %s", path, error)
