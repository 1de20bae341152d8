"""Notes about the settings of commands that do not log."""

import logging
from collections.abc import Iterable

import click

from frontend.config_environment import Note


def print_notes(notes: Iterable[Note]) -> None:
    """Print the warnings among them."""
    for note in notes:
        if note.level >= logging.WARNING:
            click.echo(f"Warning: {note.text}", err=True)
