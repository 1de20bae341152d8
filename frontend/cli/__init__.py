"""The command line: `nacelle COMMAND`. Each command's module is imported when it runs."""

import signal
from types import FrameType

from frontend.cli.root import root


def main() -> None:
    """The console script."""
    # An orderly exit removes the temporary files of a download. The server has handlers of its own.
    signal.signal(signal.SIGTERM, _exit)
    root()


def _exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)
