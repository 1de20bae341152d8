"""The limits of this process's control groups, of both versions. Linux only: /proc and /sys/fs/cgroup."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_MEMORY_FILES = (  # limit, use, and what of it the kernel gives up; of the second and the first version
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
_UNLIMITED = 2**60  # the first version reports a number of this size for no limit


def folders(controller: str, listing: str, root: Path = _ROOT) -> Iterator[Path]:
    """The folders that may hold a controller's limits: the process's own group, then those around it.

    `listing` is the text of /proc/self/cgroup. A container sees its own group as the root.
    """
    for line in listing.splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controllers if controllers else root
        own = base / path.strip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(base))


def cpu_quota(root: Path = _ROOT, own: Path = _OWN) -> float | None:
    """How many CPUs the tightest quota is worth; None without a quota."""
    quotas = []
    for folder in folders("cpu", _read(own), root):
        words = _read(folder / "cpu.max").split()
        if len(words) != 2:
            words = [_read(folder / f"cpu.cfs_{part}_us").strip() for part in ("quota", "period")]
        quota, period = map(_number, words)
        if quota and period:
            quotas.append(quota / period)
    return min(quotas, default=None)


class MemoryGroup(NamedTuple):
    """A group with a limit, in bytes. `used` leaves out page cache that the kernel gives up."""

    limit: int
    used: int

    @property
    def left(self) -> int:
        return max(0, self.limit - self.used)


def tightest_memory(root: Path = _ROOT, own: Path = _OWN) -> MemoryGroup | None:
    """Of the process's own group and those around it the one that leaves the least; None without a limit."""
    groups = []
    for folder in folders("memory", _read(own), root):
        for limit_name, used_name, cache in _MEMORY_FILES:
            limit = _number(_read(folder / limit_name))
            if limit and limit < _UNLIMITED:
                used = _number(_read(folder / used_name)) - _statistic(folder, cache)
                groups.append(MemoryGroup(limit, max(0, used)))
    return min(groups, key=lambda group: group.left, default=None)


def _statistic(folder: Path, wanted: str) -> int:
    for line in _read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == wanted:
            return _number(value)
    return 0


def _number(text: str) -> int:
    """Above 0, or 0: not a number, or one that stands for no limit."""
    return int(text) if text.strip().isdecimal() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
