"""How long a process was ready to compute but had no CPU. Linux only: schedstat and control groups."""

from collections.abc import Iterator
from pathlib import Path

_NANOSECONDS = 1e-9
_THROTTLED = {"throttled_usec": 1e-6, "throttled_time": _NANOSECONDS}  # of control groups v2 and v1
_CPU_CONTROLLER = ("", "cpu")  # v2 names no controller


class CpuWait:
    """The waits of one process and its control groups, as increments."""

    def __init__(
        self, pid: int | str = "self", proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")
    ) -> None:
        self._process = proc / str(pid)
        self._throttling = list(_throttling_files(self._process, cgroups))
        self._last: dict[Path, float] = {}
        self.since_last()

    def since_last(self) -> float:
        """Seconds since the previous call for which the thread that waited longest had no CPU.

        Threads of a pool wait for each other, so the longest wait is that of the whole computation. 0 where
        the kernel does not report waits, or the process is gone.
        """
        before, self._last = self._last, dict(self._readings())
        return max((seconds - before.get(file, 0.0) for file, seconds in self._last.items()), default=0.0)

    def _readings(self) -> Iterator[tuple[Path, float]]:
        for thread in _entries(self._process / "task"):
            waited = _read(thread / "schedstat").split()[1:2]
            if waited:
                yield thread, int(waited[0]) * _NANOSECONDS
        for file in self._throttling:
            for name, value in (line.split() for line in _read(file).splitlines()):
                if name in _THROTTLED:
                    yield file, int(value) * _THROTTLED[name]


def _throttling_files(process: Path, cgroups: Path) -> Iterator[Path]:
    """Of each group that can limit the process's CPU time, from its own to the outermost visible one."""
    for line in _read(process / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        root = cgroups / controllers
        if controllers.partition(",")[0] in _CPU_CONTROLLER:
            inner = root / path.lstrip("/")
            for group in (inner, *inner.parents):
                if (group / "cpu.stat").is_file():
                    yield group / "cpu.stat"
                if group == root:
                    break


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
