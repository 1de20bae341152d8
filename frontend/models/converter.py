"""Converts a source to OpenVINO's IR, or checks one, in a process of its own."""

from pathlib import Path

from frontend.models.child import Ended, run_module
from frontend.models.errors import ModelError
from frontend.models.reporter import Reporter, Silent
from ipc.conversion import FAILURE, NOTE


def convert(source: Path, folder: Path, reporter: Reporter | None = None) -> None:
    """Write the IR of a source file or folder into `folder`, in a process of its own. Raises ModelError.

    If this process is killed meanwhile, `folder` is removed, and the folder around it if that is empty then.
    """
    report = reporter or Silent()

    def on_line(line: str) -> None:
        if line.startswith(NOTE):
            report.note(line.removeprefix(NOTE))

    ended = run_module("host.convert", [str(source), str(folder), "--lifeline"], on_line, lifeline=True)
    _raise_if_failed(source, ended)


def check(gguf: Path) -> None:
    """Look at a GGUF file's header, in a process of its own. Raises ModelError if it cannot be converted."""
    _raise_if_failed(gguf, run_module("host.convert", ["--check", str(gguf)]))


def _raise_if_failed(source: Path, ended: Ended) -> None:
    if ended.status == 0:
        return
    line = next((line for line in reversed(ended.lines) if line.startswith(FAILURE)), None)
    raise ModelError(line or f"{FAILURE}{source.name}: {ended.last_words}")
