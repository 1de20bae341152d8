"""Busy loops beside a server, as on a machine that has other work to do."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

_SPIN = """
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(10**6):
        pass
"""


@contextlib.contextmanager
def busy_loops(per_core: int) -> Iterator[None]:
    """Compute in `per_core` processes for each core that this one may use. They end with this process."""
    count = per_core * len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            process = subprocess.Popen([sys.executable, "-c", _SPIN, str(os.getpid())])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield
