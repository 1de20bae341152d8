"""How long a process had no CPU: by files as the kernel writes them, and on a crowded CPU."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ipc.cpu_wait import CpuWait

SPIN = "import os; os.sched_setaffinity(0, {int(__import__('sys').argv[1])})\nwhile True: pass"


class Kernel:
    """A process's files, as far as they are read."""

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroups = root / "proc", root / "cgroup"
        (self.proc / "7").mkdir(parents=True)
        self.cgroups.mkdir()

    def wait_of(self, **waited: int) -> None:
        """Thread → nanoseconds for which it has waited in all."""
        for thread, nanoseconds in waited.items():
            folder = self.proc / "7" / "task" / thread
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "schedstat").write_text(f"999 {nanoseconds} 3\n")

    def group(self, line: str, **stats: str) -> None:
        (self.proc / "7" / "cgroup").write_text(line + "\n")
        for folder, content in stats.items():
            where = self.cgroups / folder.replace("_", "/")
            where.mkdir(parents=True, exist_ok=True)
            (where / "cpu.stat").write_text(content)

    def cpu_wait(self) -> CpuWait:
        return CpuWait(7, self.proc, self.cgroups)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_the_longest_wait_of_a_thread_counts(kernel: Kernel) -> None:
    kernel.wait_of(a=5_000_000_000, b=0)
    cpu_wait = kernel.cpu_wait()
    assert cpu_wait.since_last() == 0.0
    kernel.wait_of(a=5_500_000_000, b=2_000_000_000, new=1_000_000_000)
    assert cpu_wait.since_last() == 2.0
    assert cpu_wait.since_last() == 0.0


@pytest.mark.parametrize(
    ("line", "folder", "before", "after"),
    [
        (
            "0::/a/b",
            "a_b",
            "usage_usec 1\nthrottled_usec 1000000\n",
            "usage_usec 1\nthrottled_usec 3500000\n",
        ),
        ("0::/a/b", "a", "throttled_usec 0\n", "throttled_usec 2500000\n"),  # the limit of an outer group
        ("4:cpu,cpuacct:/a", "cpu,cpuacct_a", "throttled_time 0\n", "throttled_time 2500000000\n"),
    ],
)
def test_throttling_of_a_control_group_counts(
    kernel: Kernel, line: str, folder: str, before: str, after: str
) -> None:
    kernel.wait_of(a=0)
    kernel.group(line, **{folder: before})
    cpu_wait = kernel.cpu_wait()
    kernel.group(line, **{folder: after})
    assert cpu_wait.since_last() == 2.5


def test_where_the_kernel_reports_nothing_there_is_no_wait(kernel: Kernel) -> None:
    assert kernel.cpu_wait().since_last() == 0.0
    assert CpuWait(2**30).since_last() == 0.0


@pytest.fixture
def crowded() -> Iterator[int]:
    """The pid of a process that has to share a CPU with three others."""
    cpu = min(os.sched_getaffinity(0))
    with ExitStack() as stack:
        spinning = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", SPIN, str(cpu)])) for _ in range(4)
        ]
        for process in spinning:
            stack.callback(process.kill)
        yield spinning[0].pid


def test_the_kernel_reports_the_wait_for_a_crowded_cpu(crowded: int) -> None:
    cpu_wait = CpuWait(crowded)
    waited = 0.0
    while waited < 0.5:
        waited += cpu_wait.since_last()
