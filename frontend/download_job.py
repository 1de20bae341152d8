"""One download: its state, and the child process that pulls."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from typing import Literal

import msgspec

from frontend.models.pulling import LIFELINE, Advance, Event, Note, Order, Step, decode_event

State = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
NOTES = 5  # that are kept
_WORDS = 20  # last lines that are no events
_LINE_BYTES = 1024 * 1024
_KILL_SECONDS = 10.0  # until a killed group is gone


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """One download as it is now. Times are in Unix seconds."""

    id: str
    source: str  # a URL without user, password and query
    name: str | None = None  # that the model shall have; None: a name made of the source
    state: State = "queued"
    step: str = ""  # what it does now, for people
    done_bytes: int = 0
    total_bytes: int | None = None
    bytes_per_second: float | None = None
    seconds_left: float | None = None
    notes: list[str] = []  # the last few
    error: str | None = None
    model: str | None = None  # the name of the model, once it is in the store
    created: float
    ended: float | None = None


class Job:
    """A download with what runs it and who follows it."""

    def __init__(self, download: Download, source: str) -> None:
        """`source` is what was asked for: that of the download is shown, and so without secrets."""
        self.download, self.source = download, source
        self.task: asyncio.Task[None] | None = None
        self.followers: set[asyncio.Event] = set()
        self.wanted: str | None = None  # pause or cancel

    def change(self, **fields: object) -> None:
        self.download = msgspec.structs.replace(self.download, **fields)
        for follower in self.followers:
            follower.set()


def command_of(_: Order) -> list[str]:
    """The child's command line, which every user of the machine can read: the order is not in it."""
    return [sys.executable, "-P", "-m", "frontend.models.pulling", LIFELINE]


async def run_child(job: Job, command: list[str], order: Order) -> tuple[Event | None, str]:
    """Run a child to its end, and follow its events. Returns the last one, and why it ended if that says not.

    A cancellation kills the child with all that it started.
    """
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,  # the order, and the lifeline
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=_LINE_BYTES,
        start_new_session=True,
    )
    words: deque[str] = deque(maxlen=_WORDS)
    assert child.stdin is not None
    child.stdin.write(msgspec.json.encode(order) + b"\n")  # a pipe has room for it
    try:
        last = await _read(child, job, words)
        await child.wait()
    finally:
        await asyncio.shield(_bury(child))
    said = f": {words[-1]}" if words else ""
    return last, f"the process that downloads ended with status {child.returncode}{said}"


async def _read(child: asyncio.subprocess.Process, job: Job, words: deque[str]) -> Event | None:
    """Follow the child until its output ends. Returns its last event."""
    assert child.stdout is not None
    last = None
    while line := await child.stdout.readline():
        event = decode_event(line)
        if event is None:
            words.append(line.decode(errors="replace").strip())
            continue
        last = event
        _apply(job, event)
    return last


def _apply(job: Job, event: Event) -> None:
    match event:
        case Step():
            job.change(step=event.text, done_bytes=0, total_bytes=None, seconds_left=None)
        case Advance():
            job.change(
                done_bytes=event.done,
                total_bytes=event.total,
                bytes_per_second=event.bytes_per_second,
                seconds_left=event.seconds_left,
            )
        case Note():
            job.change(notes=[*job.download.notes, event.text][-NOTES:])


async def _bury(child: asyncio.subprocess.Process) -> None:
    """Kill the child's group, conversions included, and wait until the child is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(child.wait(), _KILL_SECONDS)
