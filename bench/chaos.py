"""`nacelle bench chaos`: what survives when engine hosts are killed under load."""

from collections import Counter
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from bench import kills, report, timeline
from bench.chaos_traffic import Lane, speech_lane, text_lanes, vector_lane, vision_lanes
from bench.chaos_trial import Plan, Trial, run_trial
from bench.errors import RunFailed
from bench.figures import RESTART
from bench.kills import Kill
from bench.options import json_option, positive_numbers, stall_option, task_options
from bench.recordings import Recording, read_recording
from bench.served import MODEL_NAME

# Exact arithmetic: a text does not depend on the other requests of its batch, so texts can be compared.
EXACT = ("INFERENCE_PRECISION_HINT=f32", "KV_CACHE_PRECISION=f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE=0")

OTHER_TASKS = ("embeddings", "rerank", "vision", "speech", "transcription")


class ChaosResults(msgspec.Struct, frozen=True):
    """The JSON file's results."""

    models: dict[str, str]  # what was served, by its name on the server
    clients: int
    seed: int
    busy_loops: int  # per core, beside the server
    trials: list[Trial]


@click.command("chaos", short_help="Kill engine hosts under load and compare every answer.")
@click.argument("model")
@task_options
@click.option(
    "--clients",
    type=click.IntRange(2),
    default=16,
    show_default=True,
    help="Concurrent clients of all models. Half of those of MODEL, --vision and --transcription stream.",
)
@click.option(
    "--replicas",
    default="2,1",
    show_default=True,
    help="Numbers of replicas of each model, comma-separated. One trial each.",
)
@click.option(
    "--kills-per-signal",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Kills of each model with each signal, in each trial.",
)
@click.option(
    "--max-tokens", type=click.IntRange(2), default=64, show_default=True, help="Output tokens per request."
)
@stall_option
@click.option(
    "--property",
    "properties",
    multiple=True,
    default=EXACT,
    help="OpenVINO properties, instead of those for exact arithmetic.",
)
@click.option(
    "--busy-loops",
    "busy_loops_per_core",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Processes per core that compute beside the server while its hosts are killed.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed for the prompts and the kills.")
@click.option(
    "--svg",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write the charts, one per trial. Default: beside the JSON file.",
)
@json_option
def chaos(
    model: str,
    audio: Path | None,
    clients: int,
    replicas: str,
    kills_per_signal: int,
    max_tokens: int,
    stall_seconds: float,
    properties: tuple[str, ...],
    busy_loops_per_core: int,
    seed: int,
    svg: Path | None,
    json_path: Path | None,
    **others: str | None,
) -> None:
    """Serve MODEL, kill its engine hosts under load, and compare each answer with the one without kills.

    Starts a server of its own and kills only that server's hosts, each while it has requests in flight, with
    SIGKILL, SIGSEGV, SIGABRT and SIGSTOP. Clients do not retry. Exits with status 1 if a request fails, if an
    answer differs from the one that the same request got before the kills, if another host dies, or if a
    process or shared memory is left behind.

    Greedy texts and transcripts must be equal, whether they are streamed or not. Vectors and scores may be
    0.00001 apart, times of segments 0.05 s, and speech must have the same samples to within 0.001 of full
    scale. With --speech and --transcription, clients also stream what was spoken into realtime sessions,
    whose words must be equal.
    """
    console = Console()
    trials: list[Trial] = []
    chosen = {task: other for task in OTHER_TASKS if (other := others[task]) is not None}
    models = {MODEL_NAME: model} | chosen
    lanes = lanes_of(models, max_tokens, seed)
    recording = recording_of(models, audio)
    _check_clients(clients, models, lanes)
    plan = Plan(
        models,
        lanes,
        clients,
        kills.plan(kills_per_signal, seed),
        properties,
        stall_seconds,
        seed,
        "transcription" if "transcription" in models else None,
        recording,
        busy_loops_per_core,
    )
    stem = Path(report.default_path("chaos")) if json_path is None else json_path
    for count in positive_numbers(replicas):
        trial = Trial(count)
        try:
            run_trial(trial, plan)
        except RunFailed as error:
            raise click.ClickException("\n".join([str(error), *getattr(error, "__notes__", [])])) from error
        trials.append(trial)
        picture = (svg or stem).with_suffix(f".{count}.svg")
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(_picture(model, trial))
        console.print(f"SVG: {picture}", markup=False)
    console.print(_table(trials))
    results = ChaosResults(models, clients, seed, busy_loops_per_core, trials)
    console.print(f"JSON: {report.write(results, 'chaos', stem)}", markup=False)
    if not all(trial.flawless for trial in trials):
        raise SystemExit(1)


def lanes_of(models: dict[str, str], max_tokens: int, seed: int) -> list[Lane]:
    """What clients ask of the models, except for transcripts."""
    lanes = [*text_lanes(MODEL_NAME, max_tokens, seed)]
    if "embeddings" in models:
        lanes.append(vector_lane("embeddings", "embeddings", seed))
    if "rerank" in models:
        lanes.append(vector_lane("rerank", "rerank", seed))
    if "vision" in models:
        lanes += vision_lanes("vision", max_tokens, seed)
    if "speech" in models:
        lanes.append(speech_lane("speech", seed))
    return lanes


def recording_of(models: dict[str, str], audio: Path | None) -> Recording | None:
    """What is transcribed, unless the server speaks it. Raises UsageError."""
    if audio is not None:
        return read_recording(audio)
    if "transcription" in models and "speech" not in models:
        raise click.UsageError("--transcription needs --speech MODEL, which speaks, or --audio FILE")
    return None


def _check_clients(clients: int, models: dict[str, str], lanes: list[Lane]) -> None:
    needed = len(lanes)
    if "transcription" in models:  # whole, streamed, and a session of what was spoken
        needed += 3 if "speech" in models else 2
    if clients < needed:
        raise click.UsageError(f"--clients must be at least {needed} for these models, not {clients}")


def _picture(model: str, trial: Trial) -> str:
    title = f"{model}, {trial.replicas} replica(s): tokens/s of streamed answers while hosts are killed"
    return timeline.svg(title, trial.tokens_per_second, trial.bin_seconds, trial.kills, 0.0)


def _table(trials: list[Trial]) -> Table:
    table = Table(
        "", *(f"{trial.replicas} replica(s)" for trial in trials), title="Answers while hosts are killed"
    )
    rows: dict[str, list[object]] = {
        "requests": [_sent(trial) for trial in trials],
        "failed": [trial.failed for trial in trials],
        "wrong": [trial.wrong for trial in trials],
        "kills": [_by_signal(trial.kills) for trial in trials],
        "deaths of other hosts": [round(trial.other_deaths) for trial in trials],
        "resumed": [round(trial.resumed) for trial in trials],
        "restarted": [round(trial.restarted) for trial in trials],
        "blamed": [round(trial.blamed) for trial in trials],
        "orphaned hosts": [trial.orphans for trial in trials],
        "left in /dev/shm": [", ".join(trial.left_in_shm) or "–" for trial in trials],
        "cold load": [f"{trial.cold_load:.2f} s" for trial in trials],
        "recovery p50 / p99": [f"{_s(trial.recovery_p50)} / {_s(trial.recovery_p99)}" for trial in trials],
        f"death → READY, p50 ÷ cold load (≤ {RESTART.limit})": [_s(t.ready_ratio, "") for t in trials],
        "recovery p50 ÷ cold load": [_s(trial.recovery_ratio, "") for trial in trials],
    }
    for name, values in rows.items():
        table.add_row(name, *map(str, values))
    for trial in trials:
        for failure, count in trial.failures.items():
            table.add_row(f"{count} ×", failure)
    return table


def _sent(trial: Trial) -> str:
    if len(trial.sent_by_task) < 2:
        return str(trial.sent)
    return ", ".join(f"{count} {task}" for task, count in sorted(trial.sent_by_task.items()))


def _s(value: float | None, unit: str = " s") -> str:
    return "–" if value is None else f"{value:.2f}{unit}"


def _by_signal(sent: list[Kill]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(k.signal for k in sent).items()))
