"""What is read of memory, against the kernel's other files."""

import os
import re
import subprocess
import sys
from pathlib import Path

from frontend.supervision.memory import held_bytes, oom_kills, resident_bytes


def test_the_oom_killer_s_count_is_the_kernel_s():
    lines = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    assert oom_kills() == int(lines["oom_kill"])


def test_resident_memory_is_that_of_the_process():
    shown = re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert shown
    assert 0.8 < resident_bytes(os.getpid()) / (int(shown[1]) * 1024) < 1.25
    assert held_bytes([os.getpid(), None]) == held_bytes([os.getpid()]) > 0


def test_a_process_that_is_gone_has_none():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert resident_bytes(child.pid) == 0
    assert held_bytes([child.pid]) == 0
