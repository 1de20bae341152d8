"""The memory budget of each device, and what a model is expected to take. In bytes."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from frontend.config import GIB, Settings, memory_budgets
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
    container (control groups, version 2) leaves."""
    machine = psutil.virtual_memory().available
    return min([machine, *_left_in_groups(control_group)])


def _left_in_groups(root: Path) -> Iterator[int]:
    """What each group on the way from ours to the root leaves."""
    for folder in _groups(root):
        try:
            limit = (folder / "memory.max").read_text().strip()
            if limit != "max":
                used = int((folder / "memory.current").read_text())
                yield max(0, int(limit) - used + _reclaimable(folder))
        except (OSError, ValueError):
            continue


def _groups(root: Path) -> list[Path]:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return [root]
    own = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    folder = root / own if ".." not in own else root
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]


def _reclaimable(folder: Path) -> int:
    """The page cache of a group, which its limit counts and the kernel gives up under pressure."""
    for line in (folder / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0


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
