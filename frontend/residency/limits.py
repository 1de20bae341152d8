"""The memory budget of each device, and what a model is expected to take. In bytes."""

import os
from collections.abc import Iterable
from pathlib import Path

import psutil

from frontend.config import GIB, Settings, memory_budgets
from frontend.machine.cgroups import tightest_memory
from frontend.models.estimate import PROCESS_BYTES
from frontend.models.resolve import PreparedModel
from frontend.residency.state import Limits

# What is left to the system and everything else: this share of the available memory, but no more than that.
_RESERVE_SHARE = 0.1
_RESERVE_LIMIT = 2 * GIB


def limits_of(settings: Settings, available: int) -> Limits:
    """The limits that the settings state; `available` is the memory that is free at the start.

    Raises ConfigError.
    """
    budgets = memory_budgets(settings)
    budgets.setdefault("CPU", available - round(min(available * _RESERVE_SHARE, _RESERVE_LIMIT)))
    return Limits(
        budgets=budgets,
        max_loaded=settings.max_loaded_models,
        eviction_wait_seconds=settings.eviction_wait_seconds,
    )


def available_bytes(control_group: Path = Path("/sys/fs/cgroup")) -> int:
    """Memory that this process and its children can still get: the machine's, or what the limit of a
    container leaves."""
    machine = psutil.virtual_memory().available
    group = tightest_memory(control_group)
    return machine if group is None else min(machine, group.left)


def files_bytes(prepared: PreparedModel) -> int:
    """The files that a host reads."""
    places = [prepared.path, prepared.draft_path, prepared.adapter.path if prepared.adapter else ""]
    return sum(_size(Path(place)) for place in places if place)


def _size(place: Path) -> int:
    try:
        return place.stat().st_size if place.is_file() else sum(_sizes(place))
    except OSError:
        return 0


def _sizes(folder: Path) -> Iterable[int]:
    for entry in os.scandir(folder):
        if entry.is_file():
            yield entry.stat().st_size


def expected_bytes(files: int, replicas: int, measured: int | None = None) -> int:
    """What a model holds without KV caches. Its replicas share the pages of its weights, and no more.

    `measured` is what one host held the last time.
    """
    one = files + PROCESS_BYTES if measured is None else measured
    return one + (replicas - 1) * max(PROCESS_BYTES, one - files)
