"""The limits of this process's control groups, of both versions. Linux only: /proc and /sys/fs/cgroup."""

from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
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


def memory_limit(root: Path = _ROOT, own: Path = _OWN) -> int | None:
    """In bytes; None without a limit."""
    limits = [
        limit
        for folder in folders("memory", _read(own), root)
        for name in ("memory.max", "memory.limit_in_bytes")
        if (limit := _number(_read(folder / name))) and limit < _UNLIMITED
    ]
    return min(limits, default=None)


def memory_used(root: Path = _ROOT, own: Path = _OWN) -> int:
    """Bytes that the process's own group uses, page cache included; 0 if unknown."""
    for folder in folders("memory", _read(own), root):
        for name in ("memory.current", "memory.usage_in_bytes"):
            if used := _number(_read(folder / name)):
                return used
    return 0


def _number(text: str) -> int:
    """Above 0, or 0: not a number, or one that stands for no limit."""
    return int(text) if text.strip().isdecimal() else 0


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
