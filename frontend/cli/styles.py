"""Colours for terminals. Written by hand: importing rich would take as long as a whole short command."""

import os
from typing import TextIO

_CODES = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def has_colours(stream: TextIO) -> bool:
    """Whether colours are shown and wanted (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, style: str, stream: TextIO) -> str:
    """`text` in a style, for `stream`. Each line is styled by itself."""
    return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if text and has_colours(stream) else text
