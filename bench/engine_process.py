"""Starts and commands a raw pipeline in a child process, so that this process loads no engine."""

import os
import subprocess
import sys
from typing import Any, BinaryIO, cast

import msgspec

from bench.engine_child import HUGE_PAGES, Loaded, Measured, Reply
from bench.errors import EngineFailed
from bench.load import AnyWorkload
from bench.server import cpu_seconds
from bench.stats import RequestRecord
from ipc import huge_pages
from ipc.channel import pack_launch
from ipc.messages import Launch

_reply_decoder: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


class EngineProcess:
    """A raw pipeline in a child process, idle between workloads. A context manager, which ends the
    process."""

    def __init__(self, launch: Launch[Any], in_huge_pages: bool = False) -> None:
        """Load the model, which takes seconds. Raises EngineFailed.

        `in_huge_pages`: its memory is moved there as a host's is, once its first workload has warmed it up.
        """
        message = pack_launch(launch)
        arguments = [str(message), *([HUGE_PAGES] if in_huge_pages else [])]
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "bench.engine_child", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[message],
                env=os.environ | (huge_pages.variables(os.environ) if in_huge_pages else {}),
            )
        finally:
            os.close(message)
        self._commands = cast(BinaryIO, self._child.stdin)
        self._replies = cast(BinaryIO, self._child.stdout)
        try:
            loaded = self._receive()
        except EngineFailed:
            self._end()
            raise
        assert isinstance(loaded, Loaded)
        self.load_seconds = loaded.seconds

    @property
    def pid(self) -> int:
        return self._child.pid

    def run(self, workload: AnyWorkload) -> list[RequestRecord]:
        """Run a workload of the engine's task and return its records. Raises EngineFailed."""
        self._commands.write(msgspec.json.encode(workload) + b"\n")
        self._commands.flush()
        measured = self._receive()
        assert isinstance(measured, Measured)
        return measured.records

    def cpu_seconds(self) -> float:
        """CPU time that the child process has used."""
        return cpu_seconds(self._child.pid)

    def _receive(self) -> Reply:
        line = self._replies.readline()
        if not line:
            raise EngineFailed(f"the raw engine's process ended with status {self._child.wait()}")
        return _reply_decoder.decode(line)

    def __enter__(self) -> "EngineProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        self._child.kill()
        self._child.communicate()  # closes the pipes and waits
