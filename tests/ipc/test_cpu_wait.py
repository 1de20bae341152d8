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
        self.proc = root
        (root / "7" / "task").mkdir(parents=True)

    def wait_of(self, **waited: int) -> None:
        """Thread → nanoseconds for which it has waited in all."""
        for thread, nanoseconds in waited.items():
            folder = self.proc / "7" / "task" / thread
            folder.mkdir(exist_ok=True)
            (folder / "schedstat").write_text(f"999 {nanoseconds} 3\n")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_the_longest_wait_of_a_thread_counts(kernel: Kernel) -> None:
    kernel.wait_of(a=5_000_000_000, b=0)
    cpu_wait = CpuWait(7, kernel.proc)
    assert cpu_wait.since_last() == 0.0
    kernel.wait_of(a=5_500_000_000, b=2_000_000_000, new=1_000_000_000)
    assert cpu_wait.since_last() == 2.0
    assert cpu_wait.since_last() == 0.0


@pytest.mark.parametrize("content", ["", "0 x 1", "only two"])
def test_where_the_kernel_reports_nothing_there_is_no_wait(kernel: Kernel, content: str) -> None:
    kernel.wait_of(a=0)
    (kernel.proc / "7" / "task" / "a" / "schedstat").write_text(content)
    assert CpuWait(7, kernel.proc).since_last() == 0.0
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
