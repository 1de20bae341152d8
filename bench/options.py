"""The command-line options that more than one benchmark has."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

Command = TypeVar("Command", bound=Callable[..., Any])

_WORKLOAD = (
    click.option("--concurrency", type=click.IntRange(1), default=8, show_default=True, help="In flight."),
    click.option("--requests", type=click.IntRange(1), default=64, show_default=True, help="In all."),
    click.option(
        "--prompt-words",
        type=click.IntRange(1),
        default=64,
        show_default=True,
        help="Of a prompt, or the median of an input to embed or rank. About one token each.",
    ),
    click.option(
        "--prompt-tokens", type=click.IntRange(1), help="Random token ids instead, exactly so many."
    ),
    click.option("--max-tokens", type=click.IntRange(1), default=128, show_default=True),
    click.option("--ignore-eos", is_flag=True, help="Generate all --max-tokens."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the prompts and arrival times."),
)

_VECTORS = (
    click.option(
        "--inputs",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Texts of an embedding request, or documents of a rerank request.",
    ),
    click.option(
        "--spread",
        type=click.FloatRange(0, 3),
        default=0.0,
        show_default=True,
        help="Of the inputs' lengths: standard deviation of their logarithm.",
    ),
)

json_option = click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the results. Default: a new file in ./bench-results.",
)


def workload_options(command: Command) -> Command:
    """Options named like the fields of Workload."""
    return _with(_WORKLOAD, command)


def vector_options(command: Command) -> Command:
    """Further options, named like those fields of VectorWorkload that Workload does not have."""
    return _with(_VECTORS, command)


def _with(options: Sequence[Callable[[Any], Any]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def options_of(kind: type[msgspec.Struct], asked: dict[str, Any]) -> dict[str, Any]:
    """Those options that are fields of a workload of this kind."""
    return {name: value for name, value in asked.items() if name in kind.__struct_fields__}


def positive_numbers(text: str) -> list[int]:
    """A comma-separated list of numbers from 1. Raises click.BadParameter."""
    numbers = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if not all(numbers):
        raise click.BadParameter(f"expected numbers from 1, comma-separated, not {text!r}")
    return numbers
