"""Spawning a host process and noticing its death. Linux only: pidfd.

Hosts are spawned from the main thread, because PR_SET_PDEATHSIG fires when the spawning thread ends.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from typing import Any, BinaryIO

from ipc import huge_pages
from ipc.channel import pack_launch
from ipc.messages import Launch

_END_SECONDS = 1.0


class HostProcess:
    """One running `python -P -m host`.

    `-P` keeps the current folder off the import path: a `host.py` of the user's must not run instead.
    """

    def __init__(self, launch: Launch[Any], request_arena: int, result_arena: int, progress: int) -> None:
        """Spawn. The descriptors are inherited at the same numbers.

        Raises OSError, and MessageTooLarge for a launch message that no host would read. Nothing is left
        running or open then.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("hosts are spawned from the main thread")
        with ExitStack() as inherited, ExitStack() as on_failure:
            message = pack_launch(launch)
            inherited.callback(os.close, message)
            control_read, self._control = os.pipe()
            inherited.callback(os.close, control_read)
            on_failure.callback(os.close, self._control)
            self._child = _spawn(control_read, message, request_arena, result_arena, progress)
            on_failure.callback(_end, self._child)
            self.pid = self._child.pid
            self.pidfd = os.pidfd_open(self.pid)
            on_failure.callback(os.close, self.pidfd)
            assert self._child.stderr is not None
            self.stderr: BinaryIO = self._child.stderr  # type: ignore[assignment]
            os.set_blocking(self.stderr.fileno(), False)
            on_failure.pop_all()

    def signal(self, number: int) -> None:
        """Send a signal; a process that is already gone is no error."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> int:
        """Collect the exit status after `pidfd` fired: ≥ 0 an exit status, < 0 minus the signal."""
        return self._child.wait()

    def abandon(self) -> None:
        """Kill a host that nobody has heard of yet, and close the descriptors."""
        _end(self._child)
        os.close(self._control)
        os.close(self.pidfd)

    def close(self) -> None:
        """Close the descriptors. Closing the control pipe tells a host that still lives to exit."""
        self.stderr.close()
        os.close(self._control)
        os.close(self.pidfd)


def _spawn(*descriptors: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "host", *map(str, descriptors)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=descriptors,
        env=os.environ | huge_pages.variables(os.environ),
        process_group=0,  # a Ctrl-C in the terminal is the frontend's to handle
    )


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.kill()
    assert child.stderr is not None
    child.stderr.close()
    with contextlib.suppress(subprocess.TimeoutExpired):  # `subprocess` reaps it later
        child.wait(_END_SECONDS)
