"""What a server knows of one of its models besides the policy's part."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from frontend.routing.route import LocalRoute
from frontend.supervision.memory import held_bytes
from frontend.supervision.supervisor import Supervisor
from ipc.messages import Launch


class Served(msgspec.Struct, kw_only=True):
    """One model. Sizes are in bytes, times in seconds."""

    route: LocalRoute
    path: str  # its folder
    launch: Callable[[bool], Launch[Any]]  # of its next load; given True: with less memory
    keep_alive: float | None  # seconds, as configured; None: for ever
    task: str
    engine: str
    size_bytes: int  # of its files
    is_stored: bool = False  # it is served because the store has it
    growth_bytes: int = 0  # that its hosts may take beyond what they hold when they are ready: KV caches
    load_seconds: float | None = None  # the last load took
    loading_since: float | None = None
    loaded_at: float | None = None  # in Unix seconds
    reason: str | None = None  # why its last load failed
    supervisors: list[Supervisor] = []

    @property
    def is_gone(self) -> bool:
        """It was served because the store had it, which does no longer."""
        return self.is_stored and not Path(self.path).is_dir()

    @property
    def held_bytes(self) -> int:
        """What its hosts hold now."""
        return held_bytes(supervisor.pid for supervisor in self.supervisors)
