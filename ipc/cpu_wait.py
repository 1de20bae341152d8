"""How long a process was ready to compute but had no CPU. Linux only: schedstat."""

from collections.abc import Iterator
from pathlib import Path

from ipc.kernel_files import read

PATIENCE = 10  # whatever gets too little CPU is given up after this many times its budget
_NANOSECONDS = 1e-9


class CpuWait:
    """The waits of one process, as increments. Throttling by a control group counts as well: the kernel keeps
    a throttled thread in its run queue."""

    def __init__(self, pid: int | str = "self", proc: Path = Path("/proc")) -> None:
        self._threads = proc / str(pid) / "task"
        self._last = dict(self._readings())

    def since_last(self) -> float:
        """Seconds since the previous call for which the thread that waited longest had no CPU.

        Threads of a pool wait for each other, so the longest wait is that of the whole computation. 0 where
        the kernel does not report waits, or the process is gone.
        """
        before, self._last = self._last, dict(self._readings())
        return max((seconds - before.get(thread, 0.0) for thread, seconds in self._last.items()), default=0.0)

    def _readings(self) -> Iterator[tuple[str, float]]:
        try:
            for thread in self._threads.iterdir():
                _, waited, _ = read(f"{thread}/schedstat").split()
                yield thread.name, int(waited) * _NANOSECONDS
        except (OSError, ValueError):  # the process or a thread has just ended, or there is no such file
            return
