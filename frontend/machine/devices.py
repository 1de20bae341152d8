"""Asks OpenVINO for its devices in a child process, which a broken driver may crash or hang."""

import subprocess
import sys
from typing import TypeVar

import msgspec

from frontend.supervision.death import signal_name
from ipc.machine import ComputeReport, MachineReport

PROBE_SECONDS = 60.0  # a first contact with a GPU driver may take many seconds

_Report = TypeVar("_Report", bound=msgspec.Struct)


class ProbeFailed(Exception):
    """The child crashed, hung or failed. The message is one line."""


def ask_devices(seconds: float = PROBE_SECONDS) -> MachineReport:
    """The devices that OpenVINO finds. Raises ProbeFailed."""
    return _run([], MachineReport, seconds)


def try_device(device: str, seconds: float = PROBE_SECONDS) -> ComputeReport:
    """Have a device compute something small. Raises ProbeFailed."""
    return _run(["--compute", device], ComputeReport, seconds)


def _run(arguments: list[str], kind: type[_Report], seconds: float) -> _Report:
    command = [sys.executable, "-P", "-m", "host.probe", *arguments]
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ProbeFailed(f"no answer within {seconds:g} s") from error
    except OSError as error:
        raise ProbeFailed(f"could not be started: {error.strerror or error}") from error
    return read_report(ended.returncode, ended.stdout, ended.stderr, kind)


def read_report(status: int, stdout: bytes, stderr: bytes, kind: type[_Report]) -> _Report:
    """What an ended child reported. Raises ProbeFailed."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines() if line.strip()]
    if status < 0:
        raise ProbeFailed(f"the process died of {signal_name(-status)}")
    if status:
        raise ProbeFailed(lines[-1] if lines else f"the process ended with status {status}")
    try:
        return msgspec.json.decode(stdout, type=kind)
    except (ValueError, RecursionError) as error:
        raise ProbeFailed(f"an unreadable report: {error}") from error
