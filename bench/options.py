"""Command-line options that several benchmarks share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

Command = TypeVar("Command", bound=Callable[..., Any])

_WORKLOAD = (
    click.option(
        "--concurrency", type=click.IntRange(1), default=8, show_default=True, help="Requests in flight."
    ),
    click.option(
        "--requests", type=click.IntRange(1), default=64, show_default=True, help="Total number of requests."
    ),
    click.option(
        "--prompt-words",
        type=click.IntRange(1),
        default=64,
        show_default=True,
        help="Words per prompt, about one token each: the median for vectors, the minimum for speech.",
    ),
    click.option(
        "--prompt-tokens",
        type=click.IntRange(1),
        help="Use prompts of exactly this many random token ids instead.",
    ),
    click.option(
        "--max-tokens",
        type=click.IntRange(1),
        default=128,
        show_default=True,
        help="Maximum number of output tokens per request.",
    ),
    click.option("--ignore-eos", is_flag=True, help="Generate --max-tokens tokens in every request."),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="Seed for prompts and arrival times."
    ),
)

_VECTORS = (
    click.option(
        "--inputs",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Texts per embedding request, or documents per rerank request.",
    ),
    click.option(
        "--spread",
        type=click.FloatRange(0, 3),
        default=0.0,
        show_default=True,
        help="Standard deviation of the logarithm of the inputs' lengths.",
    ),
)

_MEDIA = (
    click.option(
        "--images",
        type=click.IntRange(1, 64),
        default=1,
        show_default=True,
        help="Plain images per vision request, each of a random colour.",
    ),
    click.option(
        "--image-size",
        type=click.IntRange(1, 8192),
        default=448,
        show_default=True,
        help="Width and height of each image in pixels.",
    ),
    click.option(
        "--audio",
        type=click.Path(exists=True, dir_okay=False),
        help="A recording to transcribe. Default: sentences spoken by espeak-ng, other ones in each request.",
    ),
    click.option(
        "--audio-seconds",
        type=click.FloatRange(1, 7200),
        default=30.0,
        show_default=True,
        help="Length of each spoken recording.",
    ),
    click.option("--voice", default="alloy", show_default=True, help="The voice that speaks."),
)

_TASKS = (
    click.option("--embeddings", metavar="MODEL", help="Also serve this model, and request embeddings."),
    click.option("--rerank", metavar="MODEL", help="Also serve this model, and have it rank documents."),
    click.option("--vision", metavar="MODEL", help="Also serve this model, and ask it about images."),
    click.option(
        "--transcription",
        metavar="MODEL",
        help="Also serve this model, and have it transcribe what the model of --speech says, or --audio.",
    ),
    click.option("--speech", metavar="MODEL", help="Also serve this model, and have it read texts aloud."),
    click.option(
        "--audio",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The recording for --transcription, which needs it unless there is --speech.",
    ),
)

json_option = click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the results. Default: a new file in ./bench-results.",
)


def workload_options(command: Command) -> Command:
    """Add the options of a Workload, which have the names of its fields."""
    return _with(_WORKLOAD, command)


def vector_options(command: Command) -> Command:
    """Add the options of a VectorWorkload that a Workload does not have."""
    return _with(_VECTORS, command)


def media_options(command: Command) -> Command:
    """Add the options of workloads with images, recordings or speech that a Workload does not have."""
    return _with(_MEDIA, command)


stall_option = click.option(
    "--stall-seconds",
    type=float,
    default=5.0,
    show_default=True,
    help="The server's limit for an engine step, by which it detects a stopped host.",
)


def task_options(command: Command) -> Command:
    """Add the models that are served beside one for text, by their tasks."""
    return _with(_TASKS, command)


def _with(options: Sequence[Callable[[Any], Any]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def options_of(kind: type[msgspec.Struct], asked: dict[str, Any]) -> dict[str, Any]:
    """Those options that are fields of a workload of this kind."""
    return {name: value for name, value in asked.items() if name in kind.__struct_fields__}


def positive_numbers(text: str) -> list[int]:
    """Parse a comma-separated list of numbers from 1. Raises click.BadParameter."""
    numbers = [int(part) if part.strip().isdecimal() else 0 for part in text.split(",")]
    if not all(numbers):
        raise click.BadParameter(f"expected numbers from 1, comma-separated, not {text!r}")
    return numbers
