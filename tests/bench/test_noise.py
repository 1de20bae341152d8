"""Noise: what others do to the machine shows, what our children did does not."""

import os
import subprocess
import sys

from bench.noise import Noise


def test_work_of_a_child_stops_being_noise_once_it_was_waited_for() -> None:
    noise = Noise()
    child = subprocess.Popen([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, but not yet counted as ours
    as_others = noise.share()
    child.wait()
    assert noise.share() < as_others <= 1
