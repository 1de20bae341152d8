"""Compiles constraints that may take long in processes of their own, which have limits and may die.

In a thread of the frontend, a hostile schema would hold the interpreter's lock, and every client would wait.
"""

import asyncio
import atexit
import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
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
_ERRORS_BYTES = 1000  # of a dead process that are logged
log = logging.getLogger("nacelle.api")
_MODULE = "frontend.structured.worker"


class Stopped(Exception):
    """The worker was killed from here: its client left, or it took too long."""


class Worker:
    """One process, started when it is needed, and again when it has died."""

    def __init__(self, cpu_seconds: int = CPU_SECONDS) -> None:
        self._cpu_seconds = cpu_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: BinaryIO | None = None  # what the process writes to stderr
        self._lock = threading.Lock()

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
            died = signal_name(-status) if status < 0 else f"status {status}"
            log.warning("the process that compiles schemas died (%s): %s", died, self._last_errors())
            if attempt == 2:
                return (f"could not be compiled ({died}); use a simpler one", ""), False
        raise AssertionError

    def kill(self) -> None:
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def close(self) -> None:
        """Kill the process and forget it."""
        with self._lock:
            self._discard()

    def _discard(self) -> None:
        """Needs the lock."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, self._errors):
                with contextlib.suppress(OSError):
                    assert stream is not None
                    stream.close()

    def _running(self, stopped: threading.Event) -> subprocess.Popen[bytes]:
        with self._lock:
            if stopped.is_set():
                raise Stopped
            if self._process is not None and self._process.poll() is not None:
                self._discard()
            if self._process is None:
                self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the process
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", _MODULE],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=self._errors,
                )
                # So that it leaves no zombie when it ends because it has been idle.
                threading.Thread(target=self._process.wait, name="compiler", daemon=True).start()
            return self._process

    def _last_errors(self) -> str:
        with self._lock, contextlib.suppress(OSError, ValueError):
            assert self._errors is not None
            self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _ERRORS_BYTES))
            return self._errors.read().decode(errors="replace").strip()
        return ""

    def _exchange(self, process: subprocess.Popen[bytes], deferred: Deferred) -> bytes | None:
        """None if the process died."""
        task = Task(deferred.kind, deferred.content, deferred.is_json, self._cpu_seconds)
        try:
            write_message(cast(BinaryIO, process.stdin), msgspec.msgpack.encode(task))
            return read_message(cast(BinaryIO, process.stdout))
        except (OSError, ValueError):  # the latter where a stream is closed
            return None


class Compilers:
    """A few workers, each used by one constraint at a time."""

    def __init__(self, workers: int = WORKERS, cpu_seconds: int = CPU_SECONDS) -> None:
        self._free = [Worker(cpu_seconds) for _ in range(workers)]
        self._all = list(self._free)
        self._threads = ThreadPoolExecutor(workers, "compiling")
        self._waiting = 0
        self._stops: set[Callable[[], None]] = set()  # of the constraints that are compiled or wait

    async def compile(self, deferred: Deferred, client: Client | None, seconds: float) -> None:
        """Settle it. Raises ClientGone once the client leaves, Overloaded after this time or if many wait."""
        if self._waiting >= WAITING:
            raise Overloaded("too many schemas wait to be compiled; try again later")
        stopped = threading.Event()
        used: list[Worker] = []

        def stop() -> None:
            stopped.set()
            job.cancel()  # which has no effect once it runs
            for worker in list(used):
                worker.kill()

        job = self._threads.submit(self._compile, deferred, used, stopped)
        self._waiting += 1
        self._stops.add(stop)
        if client is not None:
            client.on_leave(stop)
        try:
            outcome, keep = await asyncio.wait_for(asyncio.wrap_future(job), seconds)
        except Stopped:
            raise ClientGone from None
        except asyncio.CancelledError:
            if stopped.is_set():  # this constraint alone is cancelled, not the request
                raise ClientGone from None
            raise
        except TimeoutError:
            raise Overloaded(_TOO_BUSY) from None
        finally:
            self._waiting -= 1
            self._stops.discard(stop)
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
        """End what is compiled or waits, and kill the workers. They start again when they are needed."""
        for stop in list(self._stops):
            stop()
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
    """What `work` returns, which must be pure. It runs again once its constraints are compiled."""
    deadline = time.monotonic() + REQUEST_SECONDS
    with deferring() as later:
        while True:
            try:
                result = await asyncio.to_thread(work, *args, **kwargs)
            except Exception:
                if not (deferred := later.take()):
                    raise
            else:
                if not (deferred := later.take()):
                    return result
            await _compile_all(deferred, deadline)


async def _compile_all(deferred: Iterable[Deferred], deadline: float) -> None:
    """Settle all of them, as many at a time as there are workers."""
    left, client = iter(deferred), current_client()

    async def compile_some() -> None:
        for one in left:
            await compilers().compile(one, client, min(WALL_SECONDS, deadline - time.monotonic()))

    tasks = [asyncio.create_task(compile_some()) for _ in range(WORKERS)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
