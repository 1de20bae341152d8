"""`nacelle bench soak`: every endpoint for a long time, while engine hosts are killed."""

from pathlib import Path

import click
from rich.console import Console
from rich.markdown import Markdown

from bench import report, soak_report
from bench.chaos import EXACT, OTHER_TASKS, lanes_of, recording_of
from bench.errors import RunFailed
from bench.options import json_option, stall_option, task_options
from bench.served import MODEL_NAME
from bench.soak_run import SoakPlan, soak_server
from bench.soak_traffic import other_lanes


@click.command("soak", short_help="Use every endpoint for a long time while engine hosts are killed.")
@click.argument("model")
@task_options
@click.option(
    "--minutes", type=click.FloatRange(0.1), default=30.0, show_default=True, help="Duration of the load."
)
@click.option(
    "--kill-every",
    type=click.FloatRange(1),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between kills, of a host of one model after the other.",
)
@click.option(
    "--clients",
    type=click.IntRange(1),
    default=24,
    show_default=True,
    help="Concurrent clients; at least one for each kind of request.",
)
@click.option(
    "--replicas", type=click.IntRange(1), default=1, show_default=True, help="Replicas of each model."
)
@click.option(
    "--sample-every",
    type=click.FloatRange(0.5),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between samples of memory, descriptors and latencies.",
)
@click.option(
    "--max-tokens", type=click.IntRange(2), default=32, show_default=True, help="Output tokens per request."
)
@stall_option
@click.option("--seed", type=int, default=0, show_default=True, help="Seed for the prompts and the kills.")
@json_option
def soak(
    model: str,
    audio: Path | None,
    minutes: float,
    kill_every: float,
    clients: int,
    replicas: int,
    sample_every: float,
    max_tokens: int,
    stall_seconds: float,
    seed: int,
    json_path: Path | None,
    **others: str | None,
) -> None:
    """Serve MODEL, use all endpoints without pause, and kill a host of one model after the other.

    Beside the tasks of the models these are responses, messages, completions, tokens, files and batches,
    Socket.IO if python-socketio and aiohttp are installed, the administration's pages of JSON, and metrics.
    Answers are compared with the undisturbed ones, as `nacelle bench chaos` does.

    Writes JSON, charts (SVG) and a summary (Markdown) beside each other. Exits with status 1 if a request
    fails or is answered differently, if the frontend's memory grows by 1 MiB a minute or its descriptors grow
    after the first quarter of the time, if a host dies that nobody killed or does not come back, or if
    something is left behind.
    """
    console = Console()
    models = {MODEL_NAME: model} | {
        task: other for task in OTHER_TASKS if (other := others[task]) is not None
    }
    lanes = [*lanes_of(models, max_tokens, seed), *other_lanes(MODEL_NAME, max_tokens, seed)]
    plan = SoakPlan(
        models,
        lanes,
        clients,
        replicas,
        minutes * 60,
        kill_every,
        sample_every,
        EXACT,
        stall_seconds,
        seed,
        "transcription" if "transcription" in models else None,
        recording_of(models, audio),
    )
    try:
        found = soak_report.results(soak_server(plan), models, clients, replicas, kill_every)
    except RunFailed as error:
        raise click.ClickException("\n".join([str(error), *getattr(error, "__notes__", [])])) from error
    path = report.write(found, "soak", json_path)
    pictures = []
    for name, picture in soak_report.charts(found).items():
        pictures.append(path.with_suffix(f".{name}.svg"))
        pictures[-1].write_text(picture)
    text = soak_report.summary(found, pictures)
    path.with_suffix(".md").write_text(text)
    console.print(Markdown(soak_report.summary(found, pictures=[])))
    console.print(f"JSON: {path}, with .md and .svg files beside it", markup=False)
    if found.faults:
        raise SystemExit(1)
