"""Measurements that the store keeps, so that a restarted server knows what its models take."""

import contextlib
import threading
from pathlib import Path

from frontend.models.inventory import Inventory
from frontend.residency.measurements import Measurement


class StoredMeasurements:
    """Implements Measurements. What cannot be written, as in a read-only store, is not kept."""

    def __init__(self, store: Inventory) -> None:
        self._store = store

    def recall(self, path: str, device: str) -> Measurement | None:
        known = self._store.learned(Path(path)).measured.get(device) if path else None
        return Measurement(known.memory_bytes, known.load_seconds) if known else None

    def remember(self, path: str, device: str, measurement: Measurement) -> None:
        """Returns at once: a disk may be slow."""
        if path:
            threading.Thread(target=self._write, args=(Path(path), device, measurement), daemon=True).start()

    def _write(self, path: Path, device: str, measurement: Measurement) -> None:
        with contextlib.suppress(OSError):
            self._store.measured(path, measurement.memory_bytes, measurement.load_seconds, device)
