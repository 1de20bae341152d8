"""Spawning a host process and feeling it die. Linux only: pidfd.

Hosts are spawned from the main thread, because PR_SET_PDEATHSIG fires when the spawning thread ends.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from typing import Any, BinaryIO

from ipc.channel import send_launch
from ipc.messages import Launch


class HostProcess:
    """One running `python -P -m host`.

    `-P` keeps the current folder off the import path: a `host.py` of the user's must not run instead.
    """

    def __init__(self, launch: Launch[Any], request_arena: int, result_arena: int, progress: int) -> None:
        """Spawn. The descriptors are inherited at the same numbers. Raises OSError."""
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("hosts are spawned from the main thread")
        control_read, control_write = os.pipe()
        descriptors = (control_read, request_arena, result_arena, progress)
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "host", *map(str, descriptors)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=descriptors,
                process_group=0,  # a Ctrl-C in the terminal is the frontend's to handle
            )
        except OSError:
            os.close(control_write)
            raise
        finally:
            os.close(control_read)
        self.pid = self._child.pid
        self.pidfd = os.pidfd_open(self.pid)
        assert self._child.stderr is not None
        self.stderr: BinaryIO = self._child.stderr  # type: ignore[assignment]
        os.set_blocking(self.stderr.fileno(), False)
        self._control = os.fdopen(control_write, "wb")
        send_launch(self._control, launch)

    def signal(self, number: int) -> None:
        """Send a signal; a process that is already gone is no error."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def reap(self) -> int:
        """Collect the exit status after `pidfd` fired: ≥ 0 an exit status, < 0 minus the signal."""
        return self._child.wait()

    def close(self) -> None:
        """Close the descriptors. Closing the control pipe tells a host that still lives to exit."""
        self.stderr.close()
        with contextlib.suppress(BrokenPipeError):
            self._control.close()
        os.close(self.pidfd)
