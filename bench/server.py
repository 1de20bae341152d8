"""Starts, watches and stops a server process under measurement."""

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import IO, Self

import psutil

from bench.errors import RunFailed

_STOP_SECONDS = 60.0


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def nacelle_command() -> list[str]:
    """The console script of this environment."""
    script = shutil.which("nacelle", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-P", "-c", "from frontend.cli import main; main()"]


def command_environment() -> dict[str, str]:
    """This process's environment, except that commands write bytecode, as installed ones have it. Without it,
    each start would compile all modules that were changed."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@contextlib.contextmanager
def pinned(cpus: Sequence[int]) -> Iterator[None]:
    """Run this process on `cpus` only, and for good the processes that are started meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Server:
    """One server process on 127.0.0.1:`port`. A context manager, which stops the server."""

    poll_seconds = 0.01  # short compared with a load of seconds, and too rare to slow it down

    def __init__(self, command: Sequence[str], port: int, environment: dict[str, str] | None = None) -> None:
        self.port = port
        self.base_url = f"http://127.0.0.1:{port}"
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the server
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=os.environ | (environment or {}),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def hosts(self) -> list[psutil.Process]:
        """The engine hosts: the server's children that run `-m host`."""
        return [child for child in psutil.Process(self.pid).children() if _is_host(child)]

    def status(self, path: str) -> int | None:
        """The status of GET `path`, or None if there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def wait_for(self, path: str, deadline: float) -> float:
        """Poll until GET `path` answers 200; return the time, in seconds of CLOCK_BOOTTIME.

        Raises RunFailed if the server exits or `deadline` seconds pass.
        """
        self._wait_until(lambda: self.status(path) == 200, f"200 from {path}", deadline)
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def recovery_seconds(self, path: str, deadline: float) -> float:
        """Kill the only engine host; return the seconds until GET `path` answers 200 from its successor."""
        [victim] = self.hosts()
        killed_at = time.clock_gettime(time.CLOCK_BOOTTIME)
        victim.kill()
        # Just after the kill the answer may still be the old host's 200: wait for the successor first.
        self._wait_until(lambda: any(host != victim for host in self.hosts()), "new host", deadline)
        return self.wait_for(path, deadline) - killed_at

    def _wait_until(self, condition: Callable[[], bool], what: str, deadline: float) -> None:
        give_up = time.monotonic() + deadline
        while not condition():
            if self._process.poll() is not None:
                raise RunFailed(f"the server exited with status {self._process.returncode}")
            if time.monotonic() > give_up:
                raise RunFailed(f"no {what} within {deadline:g} s")
            time.sleep(self.poll_seconds)

    def resident_mib(self) -> float:
        """Resident memory of the server's own process, without its children, in MiB."""
        resident: int = psutil.Process(self.pid).memory_info().rss
        return resident / 2**20

    def cpu_seconds(self) -> float:
        """CPU time that the server's own process has used, without its children."""
        return cpu_seconds(self.pid)

    def hosts_cpu_seconds(self) -> float:
        """CPU time that the engine hosts have used."""
        return sum(cpu_seconds(host.pid) for host in self.hosts())

    def log_tail(self) -> str:
        """The end of the server's output."""
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), 4000, max(0, size - 4000)).decode("utf-8", "replace")

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the server does not exit in time."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, *__: object) -> None:
        if error is not None:
            error.add_note(f"last output of the server on port {self.port}:\n{self.log_tail()}")
        self.stop()


def nacelle_server(*arguments: str, environment: dict[str, str] | None = None) -> Server:
    """`nacelle serve` with these arguments, on a free port."""
    port = free_port()
    return Server([*nacelle_command(), "serve", *arguments, "--port", str(port)], port, environment)


def pss_mib(pid: int) -> float:
    """A process's proportional share of memory, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used, without its children."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def started_at(pid: int) -> float:
    """When a process was spawned, in seconds of CLOCK_BOOTTIME, to within a clock tick (10 ms)."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(after_name[19]) / os.sysconf("SC_CLK_TCK")


def _is_host(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:  # it has ended
        return False
    return ("-m", "host") in pairwise(command)
