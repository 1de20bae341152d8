"""A death in words: it names the signal, the device and the last output."""

import signal
from typing import Any

from frontend.supervision.death import Death


def died(**how: Any) -> Death:
    return Death(model="m", replica=0, device="GPU.0", pid=1, phase="step", **how)


def test_a_signal_is_named_with_device_phase_and_last_output():
    death = died(signal=signal.SIGSEGV, stderr_tail=("a", "b", "c", "d"))
    assert death.message == (
        "the engine host of m on GPU.0 died of SIGSEGV while in phase step; last output: b | c | d"
    )
    assert death.cause == "SIGSEGV"


def test_an_exit_is_told_apart_even_with_status_zero():
    death = died(exit_code=0)
    assert "exited with status 0" in death.message
    assert death.cause == "exit"


def test_the_watchdogs_kill_is_not_blamed_on_an_unknown():
    death = died(signal=signal.SIGKILL, stalled=True)
    assert "no progress" in death.message
    assert death.cause == "stalled"


def test_the_hosts_own_last_word_wins_over_its_exit_status():
    death = died(exit_code=1, fatal="no such device")
    assert "no such device" in death.message
    assert death.cause == "fatal"


def test_a_signal_without_a_name_keeps_its_number():
    assert died(signal=63).cause == "signal 63"
