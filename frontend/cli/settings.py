"""Reads the settings of a command, and shows what is odd about them."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import click

from frontend.config import Settings
from frontend.config_environment import Note
from frontend.config_sources import Layer, load_settings


def read_settings(
    server_options: Layer | None = None,
    model_options: Layer | None = None,
    models: Iterable[str] = (),
    config: Path | None = None,
) -> tuple[Settings, list[Note]]:
    """From the options of a command, its settings file and the environment. Raises ConfigError."""
    notes: list[Note] = []
    settings = load_settings(server_options, model_options, models, config, os.environ, notes)
    return settings, notes


def print_notes(notes: Iterable[Note]) -> None:
    """Print warnings; for commands that do not log."""
    for note in notes:
        if note.level >= logging.WARNING:
            click.echo(f"Warning: {note.text}", err=True)
