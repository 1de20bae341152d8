"""`nacelle bench engine`: the raw ContinuousBatchingPipeline under the same load, without a server."""

import os
from pathlib import Path
from typing import Any

import click
import msgspec
import psutil
from rich.console import Console

from bench import gains, report
from bench.engine_process import EngineProcess
from bench.errors import EngineFailed, RunFailed
from bench.gains import COPIES, Gain
from bench.options import json_option, options_of, vector_options, workload_options
from bench.stats import Summary, summarize
from bench.vectors import VectorWorkload
from bench.workload import Workload
from frontend.cli.terminal import TerminalReporter
from frontend.config_sources import load_settings
from frontend.config_values import Given
from frontend.models.placement import launch_of
from frontend.models.resolve import preparer_for
from ipc import huge_pages
from ipc.messages import Launch, TextOptions

DYNAMIC_QUANTIZATION = "DYNAMIC_QUANTIZATION_GROUP_SIZE"
_MATCHED = "auto"  # to the weights, by host.engines.quantization
ENGINE_DEFAULT = "32"


def launch_like_a_server(model: str, **options: Any) -> Launch[TextOptions]:
    """The launch message of `nacelle serve MODEL`, with NACELLE_ variables applied.

    Downloads the model if needed. `options` are settings of the model, which override those variables.
    """
    chosen = {name: Given(value, name) for name, value in options.items()}
    settings, _ = load_settings(model_options=chosen, models=[model], environ=os.environ)
    with TerminalReporter() as reporter:
        prepared = preparer_for(settings.store, reporter).prepare(settings.models[0])
    launch: Launch[Any] = launch_of(prepared, settings, psutil.virtual_memory().available, 1)
    return launch


class EngineResults(msgspec.Struct, frozen=True):
    """The JSON file's results. `load_seconds` is the time to load the pipeline, without imports."""

    model: str
    device: str
    properties: dict[str, str]
    load_seconds: float
    workload: Workload
    summary: Summary


class RawVectorResults(msgspec.Struct, frozen=True):
    """The JSON file's results for an embedding model. The summary's requests are calls of the pipeline."""

    model: str
    device: str
    properties: dict[str, str]
    load_seconds: float
    workload: VectorWorkload
    inputs_per_second: float
    summary: Summary


class GainResults(msgspec.Struct, frozen=True):
    """The JSON file's results of a comparison with and without an option."""

    model: str
    option: str
    device: str
    properties: dict[str, str]
    workload: Workload
    gain: Gain


@click.command("engine", short_help="Measure the raw pipeline, without a server.")
@click.argument("model")
@workload_options
@vector_options
@click.option(
    "--draft-model",
    metavar="MODEL",
    help="Compare with speculative decoding by this draft model. MODEL as its own draft shows only that all "
    "draft tokens are accepted, not what a smaller model would gain.",
)
@click.option(
    "--prompt-lookup",
    is_flag=True,
    help=f"Compare with prompt lookup decoding. Each prompt repeats its words {COPIES} times.",
)
@click.option(
    "--match-quantization",
    is_flag=True,
    help="Compare with the dynamic quantization group that matches the model's weights.",
)
@click.option(
    "--huge-pages",
    "in_huge_pages",
    is_flag=True,
    help="Compare with the engine's memory in huge pages, as a host's is.",
)
@click.option(
    "--pairs",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Alternating measurements in a comparison.",
)
@json_option
def engine(
    model: str,
    draft_model: str | None,
    prompt_lookup: bool,
    match_quantization: bool,
    in_huge_pages: bool,
    pairs: int,
    json_path: Path | None,
    **asked: Any,
) -> None:
    """Load MODEL, a catalogue name or a path, into a raw pipeline and run a closed loop on it.

    All texts for an embedding model are passed at once, sorted by length, in calls of the best size.

    Settings come from NACELLE_ variables, as for `nacelle serve`. Text prompts are used as they are,
    without a chat template, as by the completions endpoint.
    """
    variants = {
        "--draft-model": bool(draft_model),
        "--prompt-lookup": prompt_lookup,
        "--match-quantization": match_quantization,
        "--huge-pages": in_huge_pages,
    }
    if sum(variants.values()) > 1:
        *names, last = variants
        raise click.UsageError(f"{', '.join(names)} and {last} exclude each other")
    try:
        if any(variants.values()):
            workload = msgspec.convert(options_of(Workload, asked), Workload)
            _compare(model, draft_model, prompt_lookup, in_huge_pages, workload, pairs, json_path)
        else:
            _measure(model, asked, json_path)
    except (EngineFailed, RunFailed) as error:
        raise click.ClickException(str(error)) from error


def _measure(model: str, asked: dict[str, Any], json_path: Path | None) -> None:
    launch = launch_like_a_server(model)
    workload: Workload | VectorWorkload
    if launch.engine == "embeddings":
        workload = VectorWorkload(task="embeddings", **options_of(VectorWorkload, asked))
    else:
        workload = Workload(**options_of(Workload, asked))
    with EngineProcess(launch) as process:
        if isinstance(workload, Workload):  # the raw embedding pipeline warms up by itself
            process.run(msgspec.structs.replace(workload, requests=1, seed=workload.seed - 1))
        summary = summarize(process.run(workload))
    console = Console()
    title = f"{model} on {launch.device}, raw pipeline"
    results: msgspec.Struct
    run = (model, launch.device, launch.properties, process.load_seconds)
    if isinstance(workload, VectorWorkload):
        texts = workload.requests * workload.inputs
        report.show_raw_vectors(title, summary, texts, console)
        results = RawVectorResults(*run, workload, texts / summary.duration, summary)
    else:
        report.show_summary(title, summary, console)
        results = EngineResults(*run, workload, summary)
    console.print(f"JSON: {report.write(results, 'engine', json_path)}", markup=False)
    if not summary.completed:
        raise SystemExit(1)


def _compare(
    model: str,
    draft: str | None,
    lookup: bool,
    in_huge_pages: bool,
    workload: Workload,
    pairs: int,
    json_path: Path | None,
) -> None:
    """The engine with a draft model, with prompt lookup, in huge pages, or else with matched quantization."""
    if draft:
        launch = launch_like_a_server(model, draft_model=draft)
        plain, what = gains.without_speculation(launch), f"draft model {draft}"
    elif lookup:
        launch = launch_like_a_server(model, prompt_lookup=True)
        plain, what = gains.without_speculation(launch), "prompt lookup"
        workload = msgspec.structs.replace(workload, copies=COPIES)
    elif in_huge_pages:
        if huge_pages.setting() != "madvise":  # else both sides have them, or neither
            raise RunFailed("--huge-pages needs madvise in /sys/kernel/mm/transparent_hugepage/enabled")
        launch = plain = launch_like_a_server(model)
        what = "huge pages"
    else:
        own = launch_like_a_server(model)
        launch, plain = (
            gains.with_property(own, DYNAMIC_QUANTIZATION, group) for group in (_MATCHED, ENGINE_DEFAULT)
        )
        what = "matched dynamic quantization group"
    found = gains.gain(launch, plain, workload, pairs, in_huge_pages)
    console = Console()
    console.print(gains.table(f"{model} on {launch.device}, {what}", found))
    results = GainResults(model, what, launch.device, launch.properties, workload, found)
    console.print(f"JSON: {report.write(results, 'gain', json_path)}", markup=False)
