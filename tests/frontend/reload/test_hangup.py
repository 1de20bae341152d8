"""A closed terminal ends the server that was started in it; any other SIGHUP is a wish to reload."""

import os
import pty
import signal
import sys

import pytest

from frontend.reload.hangup import Hangups, has_terminal

_CHILD = """
import os, signal, sys
from frontend.reload.hangup import Hangups
if sys.argv[1] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
hangups = Hangups()
signal.signal(signal.SIGHUP, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
os.write(1, b"ready")
signal.sigwait([signal.SIGHUP])
sys.exit(7 if hangups.means_the_end() else 0)
"""


@pytest.mark.parametrize(("how", "status"), [("plain", 7), ("nohup", 0)])
def test_a_terminal_that_is_closed_ends_what_was_started_in_it_unless_by_nohup(how, status):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", _CHILD, how])
    assert b"ready" in os.read(terminal, 100)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == status


def test_a_signal_while_the_terminal_is_there_or_where_there_was_none_is_a_reload():
    assert not Hangups(lambda: True).means_the_end()
    assert not Hangups(lambda: False).means_the_end()


def test_a_terminal_that_went_away_is_noticed():
    terminal = [True]
    hangups = Hangups(lambda: terminal[0])
    terminal[0] = False
    assert hangups.means_the_end() is (signal.getsignal(signal.SIGHUP) != signal.SIG_IGN)
    assert isinstance(has_terminal(), bool)
