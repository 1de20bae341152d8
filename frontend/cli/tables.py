"""Aligned columns. Written by hand: importing rich would take as long as a whole short command. Pure."""

import shutil
import sys
from collections.abc import Sequence

import click

from frontend.cli.styles import styled

_GAP = "  "


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = (), width: int | None = None) -> list[str]:
    """The rows in columns of equal width. `right` are the indices of columns that are aligned to the right.

    The last column is cut where a line would exceed `width` characters.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(size) if index in right else cell.ljust(size)
            for index, (cell, size) in enumerate(zip(row, widths, strict=True))
        ]
        line = _GAP.join(cells).rstrip()
        lines.append(line if width is None or len(line) <= width else f"{line[: width - 1]}…")
    return lines


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Print rows below headings; in a terminal within its width, elsewhere in full."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    first, *rest = aligned([headings, *rows], right, width)
    click.echo("\n".join([styled(first, "bold", sys.stdout), *rest]))


def printable(text: str) -> str:
    """Without what a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)
