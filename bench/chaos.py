"""`nacelle bench chaos`: what survives when engine hosts are killed under load."""

import asyncio
import itertools
import os
import signal
from collections import Counter
from pathlib import Path

import click
import msgspec
import psutil
import uvloop
from rich.console import Console
from rich.table import Table

from bench import kills, report, timeline
from bench.client import Client, Response, clock
from bench.completions import PATHS, Said, read_response, read_text, request_body
from bench.errors import ClientError, RunFailed
from bench.figures import RESTART
from bench.kills import Kill, Observer, carry_out, quantile, total
from bench.options import json_option, positive_numbers
from bench.served import wait_until_loaded
from bench.server import Server, free_port, nacelle_command
from bench.workload import text_prompt

MODEL_NAME = "bench"
# Exact arithmetic: a text does not depend on the other requests of its batch, so texts can be compared.
EXACT = ("INFERENCE_PRECISION_HINT=f32", "KV_CACHE_PRECISION=f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE=0")
_PROMPTS = 32
_PROMPT_WORDS = 16
_DEADLINE_SECONDS = 180.0  # for one request, which may live through many kills
_BIN_SECONDS = 0.5
_PAUSE_SECONDS = 0.2


class Difference(msgspec.Struct, frozen=True):
    """An answer that differs from the one given without kills."""

    expected: Said
    got: Said
    streamed: bool


class Trial(msgspec.Struct):
    """One run with a given number of replicas. Times are in seconds, from the server's own histograms;
    recovery time is from a death to the next token of each request that the dead host was working on."""

    replicas: int
    sent: int = 0
    failed: int = 0
    differences: list[Difference] = []
    failures: dict[str, int] = {}
    resumed: float = 0
    restarted: float = 0
    blamed: float = 0
    regenerated_tokens: float = 0
    orphans: int = 0
    left_in_shm: int = 0
    cold_load: float = 0.0
    ready_p50: float | None = None  # from a host's death until its successor is ready
    recovery_p50: float | None = None
    recovery_p99: float | None = None
    kills: list[Kill] = []
    tokens_per_second: list[float] = []  # of the streamed answers, per bin
    bin_seconds: float = _BIN_SECONDS

    @property
    def wrong(self) -> int:
        return len(self.differences)

    @property
    def ready_ratio(self) -> float | None:
        return None if self.ready_p50 is None else self.ready_p50 / self.cold_load

    @property
    def recovery_ratio(self) -> float | None:
        return None if self.recovery_p50 is None else self.recovery_p50 / self.cold_load

    @property
    def flawless(self) -> bool:
        return not (self.failed or self.wrong or self.orphans or self.left_in_shm)


class ChaosResults(msgspec.Struct, frozen=True):
    """The JSON file's results."""

    model: str
    clients: int
    seed: int
    trials: list[Trial]


@click.command("chaos", short_help="Kill engine hosts under load and compare every answer.")
@click.argument("model")
@click.option(
    "--clients",
    type=click.IntRange(2),
    default=16,
    show_default=True,
    help="Concurrent clients. Half of them stream.",
)
@click.option(
    "--replicas",
    default="2,1",
    show_default=True,
    help="Numbers of replicas, comma-separated. One trial each.",
)
@click.option(
    "--kills-per-signal",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="Kills with each signal, in each trial.",
)
@click.option(
    "--max-tokens", type=click.IntRange(2), default=64, show_default=True, help="Output tokens per request."
)
@click.option(
    "--stall-seconds",
    type=float,
    default=5.0,
    show_default=True,
    help="The server's limit for an engine step, by which it detects a stopped host.",
)
@click.option(
    "--property",
    "properties",
    multiple=True,
    default=EXACT,
    help="OpenVINO properties, instead of those for exact arithmetic.",
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
    clients: int,
    replicas: str,
    kills_per_signal: int,
    max_tokens: int,
    stall_seconds: float,
    properties: tuple[str, ...],
    seed: int,
    svg: Path | None,
    json_path: Path | None,
) -> None:
    """Serve MODEL, kill its engine hosts under load, and compare each answer with the one without kills.

    Starts a server of its own and kills only that server's hosts, each while it has requests in flight, with
    SIGKILL, SIGSEGV, SIGABRT and SIGSTOP. Clients do not retry. Exits with status 1 if a request fails, if an
    answer differs from the greedy answer that the same prompt got before the kills, or if a process or shared
    memory is left behind.
    """
    console = Console()
    trials: list[Trial] = []
    order = kills.plan(kills_per_signal, seed)
    stem = Path(report.default_path("chaos")) if json_path is None else json_path
    for count in positive_numbers(replicas):
        arguments = [model, "--name", MODEL_NAME, "--replicas", str(count)]
        arguments += [word for item in properties for word in ("--property", item)]
        trial = Trial(count)
        try:
            _run_trial(trial, arguments, stall_seconds, clients, max_tokens, order, seed)
        except RunFailed as error:
            raise click.ClickException("\n".join([str(error), *getattr(error, "__notes__", [])])) from error
        trials.append(trial)
        picture = (svg or stem).with_suffix(f".{count}.svg")
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(_picture(model, trial))
        console.print(f"SVG: {picture}", markup=False)
    console.print(_table(trials))
    results = ChaosResults(model, clients, seed, trials)
    console.print(f"JSON: {report.write(results, 'chaos', stem)}", markup=False)
    if not all(trial.flawless for trial in trials):
        raise SystemExit(1)


def _run_trial(
    trial: Trial,
    arguments: list[str],
    stall_seconds: float,
    clients: int,
    max_tokens: int,
    order: list[signal.Signals],
    seed: int,
) -> None:
    shm_before = set(os.listdir("/dev/shm"))  # noqa: S108, PTH208
    port = free_port()
    command = [*nacelle_command(), "serve", *arguments, "--port", str(port)]
    with Server(command, port, {"NACELLE_STALL_SECONDS": str(stall_seconds)}) as server:
        trial.cold_load = wait_until_loaded(server)
        observer = Observer(server, MODEL_NAME)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_load(trial, server, observer, clients, max_tokens, order, seed))
        observer.replicas()
        _read_metrics(trial, observer)
    trial.orphans = sum(psutil.pid_exists(pid) for pid in observer.pids)
    trial.left_in_shm = len(set(os.listdir("/dev/shm")) - shm_before)  # noqa: S108, PTH208


async def _load(
    trial: Trial,
    server: Server,
    observer: Observer,
    clients: int,
    max_tokens: int,
    order: list[signal.Signals],
    seed: int,
) -> None:
    client = Client(server.base_url + "/v1", None)
    bodies = [
        [_body(text_prompt(seed, index, _PROMPT_WORDS), max_tokens, stream) for stream in (False, True)]
        for index in range(_PROMPTS)
    ]
    try:
        expected = [read_text(await _post(client, whole)) for whole, _ in bodies]
    except ClientError as error:
        raise RunFailed(f"a request failed before the first kill: {error}") from error
    done = asyncio.Event()
    answers: list[tuple[int, Response | ClientError]] = []
    turn = itertools.count()

    async def work(streaming: bool) -> None:
        while not done.is_set():
            index = next(turn) % _PROMPTS
            try:
                answers.append((index, await _post(client, bodies[index][streaming])))
            except ClientError as error:
                answers.append((index, error))
                await asyncio.sleep(_PAUSE_SECONDS)  # an error may arrive at once, and so would the next

    started = clock()
    workers = [asyncio.create_task(work(streaming=number % 2 == 1)) for number in range(clients)]
    try:
        trial.kills = await asyncio.to_thread(carry_out, order, observer, seed)
    finally:
        done.set()
        await asyncio.gather(*workers)
        client.close()
    _judge(trial, answers, expected, started)


def _body(prompt: str, max_tokens: int, stream: bool) -> bytes:
    return request_body(MODEL_NAME, "chat", prompt, max_tokens, stream=stream, ignore_eos=True)


async def _post(client: Client, body: bytes) -> Response:
    return await client.post(PATHS["chat"], body, _DEADLINE_SECONDS)


def _judge(
    trial: Trial, answers: list[tuple[int, Response | ClientError]], expected: list[Said], started: float
) -> None:
    """Compare every answer with the one given without kills: text, number of tokens and finish reason."""
    arrivals: list[float] = []
    failures: Counter[str] = Counter()
    for index, answer in answers:
        try:
            if isinstance(answer, ClientError):
                raise answer
            if (got := read_text(answer)) != expected[index]:
                trial.differences.append(Difference(expected[index], got, bool(answer.events)))
            arrivals += read_response(answer).arrivals
        except ClientError as error:
            failures[f"{error.kind}: {error}"[:200]] += 1
    trial.sent, trial.failed, trial.failures = len(answers), failures.total(), dict(failures)
    for kill in trial.kills:  # relative to the start of the load, as in the chart
        assert kill.time >= started
    trial.kills = [msgspec.structs.replace(kill, time=kill.time - started) for kill in trial.kills]
    end = max(arrivals, default=started + _BIN_SECONDS)
    trial.tokens_per_second = timeline.rates(arrivals, started, end, _BIN_SECONDS)


def _read_metrics(trial: Trial, observer: Observer) -> None:
    samples = observer.metrics()
    trial.resumed = total(samples, "nacelle_resumed_total")
    trial.restarted = total(samples, "nacelle_restarted_total")
    trial.blamed = total(samples, "nacelle_blamed_total")
    trial.regenerated_tokens = total(samples, "nacelle_regenerated_tokens_total")
    trial.ready_p50 = quantile(samples, "nacelle_host_recovery_seconds", 0.5)
    trial.recovery_p50 = quantile(samples, "nacelle_recovery_seconds", 0.5)
    trial.recovery_p99 = quantile(samples, "nacelle_recovery_seconds", 0.99)


def _picture(model: str, trial: Trial) -> str:
    title = f"{model}, {trial.replicas} replica(s): tokens/s of streamed answers while hosts are killed"
    return timeline.svg(title, trial.tokens_per_second, trial.bin_seconds, trial.kills, 0.0)


def _table(trials: list[Trial]) -> Table:
    table = Table(
        "", *(f"{trial.replicas} replica(s)" for trial in trials), title="Answers while hosts are killed"
    )
    rows: dict[str, list[object]] = {
        "requests": [trial.sent for trial in trials],
        "failed": [trial.failed for trial in trials],
        "wrong": [trial.wrong for trial in trials],
        "kills": [_by_signal(trial.kills) for trial in trials],
        "resumed": [round(trial.resumed) for trial in trials],
        "restarted": [round(trial.restarted) for trial in trials],
        "blamed": [round(trial.blamed) for trial in trials],
        "orphaned hosts": [trial.orphans for trial in trials],
        "left in /dev/shm": [trial.left_in_shm for trial in trials],
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


def _s(value: float | None, unit: str = " s") -> str:
    return "–" if value is None else f"{value:.2f}{unit}"


def _by_signal(sent: list[Kill]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(Counter(k.signal for k in sent).items()))
