"""Compiles constraints that may take long in processes of their own, which have limits and may die.

In a thread of the frontend, a hostile schema would hold the interpreter's lock, and every client would wait.
"""

import asyncio
import atexit
import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import BinaryIO, ParamSpec, TypeVar, cast

import msgspec

from frontend.errors import ClientGone, Overloaded
from frontend.http.client import Client, current_client
from frontend.structured.cache import Deferred, Outcome, deferring
from frontend.structured.worker import Task, read_message, write_message
from frontend.supervision.death import signal_name

P = ParamSpec("P")
T = TypeVar("T")

WORKERS = 2
WAITING = 64  # constraints that wait for a worker
CPU_SECONDS = 5  # for one constraint
WALL_SECONDS = 30.0  # for one constraint, on a busy machine
REQUEST_SECONDS = 60.0  # for all constraints of a request
_TOO_BUSY = "a schema took too long to compile on this busy machine; try again later"
_MODULE = "frontend.structured.worker"


class Stopped(Exception):
    """The worker was killed from here: its client left, or it took too long."""


class Worker:
    """One process, started when it is needed, and again when it has died."""

    def __init__(self, cpu_seconds: int = CPU_SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._stopped = False

    def compile(self, deferred: Deferred, stopped: threading.Event) -> tuple[Outcome, bool]:
        """The outcome, and whether it is always the same. Blocks. Raises Stopped once `stopped` is set."""
        for attempt in (1, 2):
            process = self._running(stopped)
            message = self._exchange(process, deferred)
            if message is not None:
                decoded = msgspec.msgpack.decode(message)
                return (decoded if isinstance(decoded, dict) else (decoded[0], decoded[1])), True
            status = process.wait()
            if stopped.is_set():
                raise Stopped
            if -status == signal.SIGXCPU:
                return (f"takes longer than {self._cpu_seconds} s to compile; use a simpler one", ""), True
            if attempt == 2:
                died = signal_name(-status) if status < 0 else f"status {status}"
                return (f"could not be compiled ({died}); use a simpler one", ""), False
        raise AssertionError

    def kill(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Kill the process and forget it."""
        self.kill()
        if self._process is not None:
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    assert stream is not None
                    stream.close()
            self._process = None

    def _running(self, stopped: threading.Event) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        with self._lock:
            if stopped.is_set():
                raise Stopped
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _MODULE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                )
            return self._process

    def _exchange(self, process: subprocess.Popen[bytes], deferred: Deferred) -> bytes | None:
        """None if the process died."""
        task = Task(deferred.kind, deferred.content, deferred.is_json, self._cpu_seconds)
        try:
            write_message(cast(BinaryIO, process.stdin), msgspec.msgpack.encode(task))
            return read_message(cast(BinaryIO, process.stdout))
        except OSError:
            return None


class Compilers:
    """A few workers, each used by one constraint at a time."""

    def __init__(self, workers: int = WORKERS, cpu_seconds: int = CPU_SECONDS) -> None:
        self._free = [Worker(cpu_seconds) for _ in range(workers)]
        self._all = list(self._free)
        self._threads = ThreadPoolExecutor(workers, "compiling")
        self._waiting = 0

    async def compile(self, deferred: Deferred, client: Client | None, seconds: float) -> None:
        """Settle it. Raises ClientGone once the client leaves, Overloaded after this time or if many wait."""
        if self._waiting >= WAITING:
            raise Overloaded("too many schemas wait to be compiled; try again later")
        stopped = threading.Event()
        used: list[Worker] = []

        def stop() -> None:
            stopped.set()
            for worker in used:
                worker.kill()

        self._waiting += 1
        job = self._threads.submit(self._compile, deferred, used, stopped)
        if client is not None:
            client.on_leave(stop)
        try:
            outcome, keep = await asyncio.wait_for(asyncio.wrap_future(job), seconds)
        except Stopped:
            raise ClientGone from None
        except TimeoutError:
            raise Overloaded(_TOO_BUSY) from None
        finally:
            self._waiting -= 1
            if not job.done():
                stop()
        deferred.settle(outcome, keep)

    def _compile(
        self, deferred: Deferred, used: list[Worker], stopped: threading.Event
    ) -> tuple[Outcome, bool]:
        worker = self._free.pop()
        used.append(worker)
        try:
            return worker.compile(deferred, stopped)
        finally:
            used.remove(worker)
            self._free.append(worker)

    def close(self) -> None:
        """Kill the workers. They start again when they are needed."""
        for worker in self._all:
            worker.close()


@cache
def compilers() -> Compilers:
    """Those of this process."""
    found = Compilers()
    atexit.register(found.close)
    return found


def stop_compiling() -> None:
    """Leave no worker running."""
    if compilers.cache_info().currsize:
        compilers().close()


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` returns, which must be pure. It runs again after each constraint that is compiled apart."""
    deadline = time.monotonic() + REQUEST_SECONDS
    with deferring():
        while True:
            try:
                return await asyncio.to_thread(work, *args, **kwargs)
            except Deferred as deferred:
                seconds = min(WALL_SECONDS, deadline - time.monotonic())
                await compilers().compile(deferred, current_client(), seconds)
