"""Reports on stderr how the preparation of a model proceeds: live in a terminal, as plain lines elsewhere."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from frontend.cli.units import MEGABYTE

if TYPE_CHECKING:
    from frontend.cli.live import LiveReporter

_PLAIN_LINES = 4  # per download
_PLAIN_SECONDS = 1.0  # minimum time between two lines, so that quick activities print none


class TerminalReporter:
    """A Reporter for a `with` statement. Prints and imports nothing until there is something to report."""

    def __init__(self) -> None:
        self._reporter: LiveReporter | PlainReporter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reporter is not None:
            self._reporter.close(done=kind is None)

    def step(self, text: str) -> None:
        if self._reporter is None:
            self._reporter = _reporter_for_stderr()
        self._reporter.step(text)

    def progress(self, done: int, total: int | None) -> None:
        if self._reporter is not None:
            self._reporter.progress(done, total)

    def note(self, text: str) -> None:
        if self._reporter is not None:
            self._reporter.note(text)


def _reporter_for_stderr() -> "LiveReporter | PlainReporter":
    if not sys.stderr.isatty():
        return PlainReporter()
    from frontend.cli.live import LiveReporter  # imports rich, which takes time and memory

    return LiveReporter()


class PlainReporter:
    """For logs and pipes: a line for each activity, and a few lines for its progress."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._printed_at = clock()
        self._quarter = 0
        self._unprinted = ""  # the latest progress of an activity of which some was printed

    def step(self, text: str) -> None:
        self._print_latest()
        self._printed_at = self._clock()
        self._quarter = 0
        click.echo(text, err=True)

    def progress(self, done: int, total: int | None) -> None:
        if not total:
            return
        if self._quarter:
            self._unprinted = _progress_line(done, total)
        if self._clock() - self._printed_at < _PLAIN_SECONDS:
            return
        if (quarter := done * _PLAIN_LINES // total) > self._quarter:
            self._quarter, self._printed_at, self._unprinted = quarter, self._clock(), ""
            click.echo(_progress_line(done, total), err=True)

    def note(self, text: str) -> None:
        click.echo(f"  {text}", err=True)

    def close(self, *, done: bool) -> None:  # noqa: ARG002 - what was reached is of interest either way
        self._print_latest()

    def _print_latest(self) -> None:
        if self._unprinted:
            click.echo(self._unprinted, err=True)
            self._unprinted = ""


def _progress_line(done: int, total: int) -> str:
    return f"  {done / MEGABYTE:.0f} of {total / MEGABYTE:.0f} MB"
