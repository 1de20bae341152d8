"""`nacelle bench overhead`: the cost of serving, as ratios within one run, each with its budget."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from rich.console import Console

from bench import figures, noise, report
from bench.alone import arena_copy, command_start
from bench.engine import DYNAMIC_QUANTIZATION, ENGINE_DEFAULT, launch_like_a_server
from bench.engine_process import EngineProcess
from bench.errors import RunFailed
from bench.figures import Figure, Verdict
from bench.first_answers import after_a_swap, first_word
from bench.frontend_alone import frontend_alone
from bench.gains import with_property
from bench.noise import Noise
from bench.options import json_option, positive_numbers
from bench.served import (
    MODEL_NAME,
    Sides,
    first_token,
    idle_memory,
    restart,
    shared_prefix,
    throughput,
    wait_until_loaded,
)
from bench.served_audio import BUDGETS, AudioSides, audio_throughput, first_audio, workloads_of
from bench.served_vectors import VectorSides, many_requests, one_request
from bench.server import Server, nacelle_server


class Judged(msgspec.Struct, frozen=True):
    """One figure in the JSON file, with all its samples and pairs."""

    figure: Figure
    verdict: Verdict


class OverheadResults(msgspec.Struct, frozen=True):
    """The JSON file's results."""

    model: str
    others_busy: float  # share of the machine that other processes used meanwhile, 0 to 1
    figures: list[Judged]


_TEXT_LEVELS = "1,8,32"
_EMBEDDING_LEVELS = "64"
_AUDIO_LEVELS = "1"
_LEVELS = {"embeddings": _EMBEDDING_LEVELS, "transcription": _AUDIO_LEVELS, "speech": _AUDIO_LEVELS}


@click.command("overhead", short_help="Compare serving with the raw pipeline, and check the budgets.")
@click.argument("model")
@click.option(
    "--pairs",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Alternating measurements per figure.",
)
@click.option(
    "--concurrency",
    help=f"Requests in flight, comma-separated. Default: {_TEXT_LEVELS}; for embeddings {_EMBEDDING_LEVELS}, "
    f"for transcription and speech {_AUDIO_LEVELS}.",
)
@click.option(
    "--audio",
    type=click.Path(exists=True, dir_okay=False),
    help="A recording to transcribe. Default: one minute of sentences spoken by espeak-ng.",
)
@click.option(
    "--engine-defaults",
    is_flag=True,
    help="Measure only tokens/s of a text model, against the engine as it is by itself: with its default "
    "quantization group and without asking for huge pages.",
)
@json_option
def overhead(
    model: str,
    pairs: int,
    concurrency: str | None,
    audio: str | None,
    engine_defaults: bool,
    json_path: Path | None,
) -> None:
    """Compare serving MODEL with a raw pipeline, and measure the other figures that have a budget.

    MODEL generates text, computes embeddings, transcribes or speaks. The raw embedding pipeline gets all
    texts at once, sorted by length, in calls of the best size. The raw Whisper pipeline gets whole
    recordings, already decoded, and that of a speech model one sentence after the other.

    Both sides read the same NACELLE_ variables, and both have huge pages where the kernel allows them. Needs
    memory for two copies of the model. Exits with status 1 if a run fails or if served ÷ raw is below 0.90,
    or 0.8 for other tasks than text; other figures that miss their budget are only reported.
    """
    if concurrency is not None:
        positive_numbers(concurrency)  # refuse it before minutes have passed
    if engine_defaults and audio is not None:
        raise click.UsageError("--engine-defaults and --audio exclude each other")
    console = Console()
    machine = Noise()
    found: list[Figure] = []
    try:
        if engine_defaults:
            measured = _against_defaults(model, pairs, concurrency)
        else:
            measured = _measure(model, pairs, concurrency, audio)
        for figure in measured:
            found.append(figure)
            console.print(
                f"{figure.budget.what} {figure.variant}: {figure.value:.3f}", style="dim", markup=False
            )
    except (RunFailed, subprocess.CalledProcessError) as error:
        raise click.ClickException("\n".join([str(error), *getattr(error, "__notes__", [])])) from error
    console.print(figures.table(found))
    others_busy = machine.share()
    if warning := noise.warning(others_busy):
        console.print(warning, style="red")
    results = OverheadResults(model, others_busy, [Judged(figure, figure.verdict) for figure in found])
    console.print(f"JSON: {report.write(results, 'overhead', json_path)}", markup=False)
    if any(figure.verdict == "FAIL" for figure in found):
        raise SystemExit(1)


def _measure(model: str, pairs: int, concurrency: str | None, audio: str | None) -> Iterator[Figure]:
    """Yield each figure as soon as it is measured."""
    yield command_start("--help")
    yield command_start("list")
    yield arena_copy()
    yield frontend_alone(pairs)
    launch = launch_like_a_server(model)
    if audio is not None and launch.engine != "transcription":
        raise RunFailed(f"--audio is for models that transcribe; the task of {model} is {launch.engine}")
    levels = positive_numbers(concurrency or _LEVELS.get(launch.engine, _TEXT_LEVELS))
    with nacelle_server(model, "--name", MODEL_NAME) as server:
        cold_load = wait_until_loaded(server)
        yield idle_memory(server)
        with EngineProcess(launch, in_huge_pages=True) as raw:
            if launch.engine in BUDGETS:
                sides = AudioSides(server, raw, workloads_of(launch, audio))
                yield from _audio(sides, launch.engine, pairs, levels, cold_load)
                return
            side_by_side = _embeddings if launch.engine == "embeddings" else _text
            yield from side_by_side(server, raw, pairs, levels, cold_load)


def _against_defaults(model: str, pairs: int, concurrency: str | None) -> Iterator[Figure]:
    """Tokens/s only, against a raw pipeline with the engine's own quantization group, and no huge pages."""
    launch = launch_like_a_server(model)
    if launch.engine != "text":
        raise RunFailed(
            f"--engine-defaults is for models that generate text; the task of {model} is {launch.engine}"
        )
    levels = positive_numbers(concurrency or _TEXT_LEVELS)
    with nacelle_server(model, "--name", MODEL_NAME) as server:
        wait_until_loaded(server)
        with EngineProcess(with_property(launch, DYNAMIC_QUANTIZATION, ENGINE_DEFAULT)) as raw:
            sides = Sides(server, raw)
            sides.warm_up(max(levels))
            for level in levels:
                figure = throughput(sides, level, pairs)
                yield msgspec.structs.replace(figure, budget=figures.SERVED_TO_DEFAULTS)


def _text(
    server: Server, raw: EngineProcess, pairs: int, levels: list[int], cold_load: float
) -> Iterator[Figure]:
    sides = Sides(server, raw)
    sides.warm_up(max(levels))
    yield first_token(sides, pairs)
    yield first_word(sides, pairs)
    yield shared_prefix(sides, pairs)
    for level in levels:
        yield throughput(sides, level, pairs)
    yield after_a_swap(server, pairs)
    yield restart(server, cold_load, sides.ask)


def _embeddings(
    server: Server, raw: EngineProcess, pairs: int, levels: list[int], cold_load: float
) -> Iterator[Figure]:
    sides = VectorSides(server, raw)
    sides.warm_up(max(levels))
    yield one_request(sides, pairs)
    for level in levels:
        yield many_requests(sides, level, pairs)
    yield restart(server, cold_load, sides.ask)


def _audio(sides: AudioSides, task: str, pairs: int, levels: list[int], cold_load: float) -> Iterator[Figure]:
    sides.warm_up()
    for level in levels:
        yield audio_throughput(sides, BUDGETS[task], level, pairs)
    if task == "speech":
        yield first_audio(sides, pairs)
    yield restart(sides.server, cold_load, sides.ask)
