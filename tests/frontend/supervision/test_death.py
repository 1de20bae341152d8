"""A death in words: it names the signal, the device and the last output."""

import signal
from typing import Any

import pytest

from frontend.supervision.death import Death
from ipc.progress import Phase


def died(**how: Any) -> Death:
    return Death(model="m", replica=0, device="GPU.0", pid=1, phase="step", **how)


def test_a_signal_is_named_with_device_phase_and_last_output():
    death = died(signal=signal.SIGSEGV, stderr_tail=("a", "b", "c", "d"))
    assert death.message == (
        "the engine host of m on GPU.0 died of SIGSEGV during an engine step; last output: b | c | d"
    )
    assert death.cause == "SIGSEGV"


def test_an_exit_is_told_apart_even_with_status_zero():
    death = died(exit_code=0)
    assert "exited with status 0" in death.message
    assert death.cause == "exit"


def test_a_host_that_was_killed_for_what_it_did_says_why():
    death = died(signal=signal.SIGKILL, condemned="it broke the protocol: token id 9")
    assert "it broke the protocol: token id 9" in death.message
    assert death.cause == "condemned"


@pytest.mark.parametrize(
    ("how", "implicates"),
    [
        ({"signal": signal.SIGSEGV}, True),
        ({"exit_code": 1}, True),
        ({"signal": signal.SIGKILL, "stalled": True}, True),
        ({"signal": signal.SIGKILL, "out_of_memory": True}, True),
        ({"signal": signal.SIGKILL, "condemned": "it does not read"}, True),
        ({"signal": signal.SIGKILL}, False),  # from outside
        ({"exit_code": 0}, False),  # it was told to
        ({"exit_code": 0, "expected": True}, False),
        ({"signal": signal.SIGSEGV, "expected": True}, True),
    ],
)
def test_what_a_host_computed_is_suspected_unless_somebody_ended_it(how, implicates):
    assert died(**how).implicates is implicates


def test_a_kill_that_an_administrator_asked_for_says_so_and_blames_nothing():
    death = died(signal=signal.SIGKILL, killed=True)
    assert death.summary == (
        "the engine host of m on GPU.0 was killed by an administrator (SIGKILL) during an engine step"
    )
    assert (death.cause, death.implicates) == ("killed", False)


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_words(phase):
    summary = Death("m", 0, "CPU", 1, phase.name.lower(), signal=signal.SIGABRT).summary
    assert summary.split(" died of SIGABRT ")[1].startswith(("while ", "during "))


def test_the_watchdogs_kill_is_not_blamed_on_an_unknown():
    death = died(signal=signal.SIGKILL, stalled=True)
    assert "no progress" in death.message
    assert death.cause == "stalled"


def test_a_starved_host_is_told_apart_from_a_hung_one():
    death = died(signal=signal.SIGKILL, stalled=True, starved=True)
    assert "so little CPU time" in death.message
    assert (death.cause, death.implicates) == ("starved", True)


def test_the_hosts_own_last_word_wins_over_its_exit_status():
    death = died(exit_code=1, fatal="no such device")
    assert "no such device" in death.message
    assert death.cause == "fatal"


def test_a_load_that_would_fail_again_is_told_in_few_words():
    death = died(exit_code=1, fatal="there is no device GPU.0 here", permanent=True)
    assert death.summary == "m on GPU.0: there is no device GPU.0 here"


def test_a_signal_without_a_name_keeps_its_number():
    assert died(signal=63).cause == "signal 63"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"signal": signal.SIGKILL, "out_of_memory": True}, True),
        ({"signal": signal.SIGABRT, "stderr_tail": ("what():  std::bad_alloc",)}, True),
        ({"exit_code": 1, "fatal": "Failed to allocate 8474112 bytes of memory"}, True),
        ({"signal": signal.SIGKILL}, False),
        ({"exit_code": 1, "fatal": "no such device"}, False),
    ],
)
def test_a_lack_of_memory_is_recognized_by_the_kernel_or_by_the_words_of_allocators(how, expected):
    assert died(**how).ran_out_of_memory is expected
