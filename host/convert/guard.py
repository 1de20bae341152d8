"""Runs a conversion in a child process, and explains its end. Whatever happens, nothing half-made stays.

Native code may crash, run out of memory or never end. And whoever asked for the conversion may be killed: a
pipe then reports it, as its other end closes.
"""

import contextlib
import os
import resource
import select
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from host.convert.errors import DOWNLOAD_AGAIN, EXPORT
from host.linux import die_with_parent, forbid_core_dumps, volunteer_for_oom_killer

_MEMORY_BASE = 6 * 1024**3  # bytes: OpenVINO, its threads, and the working memory of a small model
_MEMORY_FACTOR = 8  # of the source's size
_SECONDS_BASE = 900.0
_BYTES_PER_SECOND = 2_000_000  # a very slow machine
_CRASHES = {
    int(signal.SIGBUS): "the file was cut short while it was read; wait until it is complete",
    int(signal.SIGKILL): "the conversion was killed, perhaps for lack of memory; free some and try again",
}


class Crash(Exception):
    """The text explains how the worker ended."""


def run_guarded(work: Callable[[], int], source_bytes: int, folder: Path, lifeline: int | None) -> int:
    """Run `work` in a child process and return its exit status. Raises Crash if it ends in any other way.

    `lifeline` is a descriptor that reports its end when the caller is gone; `folder` is removed then.
    """
    sys.stdout.flush()  # or the child would write it again
    parent, child = os.getpid(), os.fork()
    if child == 0:
        _become_worker(parent, source_bytes)
        os._exit(_run(work))
    seconds = _SECONDS_BASE + source_bytes / _BYTES_PER_SECOND
    try:
        ended = _wait(child, lifeline, seconds)
    finally:
        os.kill(child, signal.SIGKILL)  # has no effect on one that has ended: it is not waited for yet
        _, status = os.waitpid(child, 0)
    if ended == "late":
        raise Crash(f"it took more than {seconds / 60:.0f} minutes and was stopped; {EXPORT}")
    if ended == "abandoned":
        _remove(folder)
        return 1
    return _explain(status)


def _remove(folder: Path) -> None:
    """With the scratch folder around it, if nothing else is in there."""
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        folder.parent.rmdir()


def _become_worker(parent: int, source_bytes: int) -> None:
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)
    forbid_core_dumps()
    volunteer_for_oom_killer()
    limit = _MEMORY_BASE + _MEMORY_FACTOR * source_bytes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _run(work: Callable[[], int]) -> int:
    try:
        return work()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _wait(child: int, lifeline: int | None, seconds: float) -> Literal["ended", "abandoned", "late"]:
    pidfd = os.pidfd_open(child)
    try:
        poll = select.poll()
        for descriptor in (pidfd, lifeline):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(seconds * 1000)]
    finally:
        os.close(pidfd)
    if pidfd in ready:
        return "ended"
    return "abandoned" if ready else "late"


def _explain(status: int) -> int:
    """The exit status. Raises Crash for a signal."""
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status)
    name = signal.Signals(os.WTERMSIG(status)).name
    raise Crash(
        _CRASHES.get(
            os.WTERMSIG(status), f"OpenVINO crashed ({name}); the file may be damaged: {DOWNLOAD_AGAIN}"
        )
    )
