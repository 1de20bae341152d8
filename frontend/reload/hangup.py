"""What SIGHUP means: usually a reload, but also that the terminal is gone in which the server was started."""

import contextlib
import os
import signal
from collections.abc import Callable


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return True
    return False


class Hangups:
    """Tells one from the other. Created before a handler of SIGHUP is installed."""

    def __init__(self, has_terminal: Callable[[], bool] = has_terminal) -> None:
        self._has_terminal = has_terminal
        # Who starts a server with nohup wants it to outlive the terminal.
        self._ends_with_terminal = has_terminal() and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN

    def means_the_end(self) -> bool:
        """Whether a SIGHUP that has just arrived says that the terminal was closed."""
        return self._ends_with_terminal and not self._has_terminal()
