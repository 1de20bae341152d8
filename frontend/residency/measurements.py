"""What loads took before, for the decisions about the next ones."""

from typing import Protocol

import msgspec


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
