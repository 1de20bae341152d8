"""The command line, `nacelle COMMAND`. The module of a command is imported when the command runs."""

import signal
from types import FrameType

from frontend.cli.root import root


def main() -> None:
    """Entry point of the console script."""
    # SystemExit, so that the temporary files of a download are removed. The server replaces this handler.
    signal.signal(signal.SIGTERM, _exit)
    root()


def _exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
