"""One trial of `nacelle bench chaos`: a server, clients that ask without pause, and kills."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import psutil
import uvloop

from bench import timeline
from bench.busy import busy_loops
from bench.chaos_traffic import Answer, Lane, difference, realtime_lane, recordings_of, transcription_lanes
from bench.client import Client, Response, clock
from bench.completions import read_response
from bench.errors import ClientError, RunFailed
from bench.kills import PATIENCE_SECONDS, Kill, Observer, carry_out, quantile, total
from bench.recordings import Recording
from bench.served import LOAD_SECONDS, wait_until_loaded
from bench.server import Server, nacelle_server

_DEADLINE_SECONDS = 600.0  # of one request: many kills may fall into its life
_BIN_SECONDS = 0.5
_PAUSE_SECONDS = 0.2


class Difference(msgspec.Struct, frozen=True):
    """An answer that is not the undisturbed one."""

    task: str
    request: int  # of the task's
    what: str
    streamed: bool


class Answered(msgspec.Struct, frozen=True):
    """How one request ended."""

    lane: Lane
    request: int  # index of the body in its lane
    outcome: Response | ClientError


class Plan(msgspec.Struct, frozen=True):
    """What every trial serves and does. `models` by their names on the server.

    `transcription` names the model that transcribes `recording`, or else what the speech model has spoken.
    """

    models: dict[str, str]
    lanes: list[Lane]
    clients: int
    order: list[signal.Signals]
    properties: tuple[str, ...]
    stall_seconds: float
    seed: int
    transcription: str | None = None
    recording: Recording | None = None
    busy_loops: int = 0  # per core, beside the server while its hosts are killed

    @property
    def slowdown(self) -> int:
        """Multiplies deadlines: beside N busy loops the server gets one part in N + 1 of the CPU time."""
        return 1 + self.busy_loops


class Trial(msgspec.Struct):
    """One run with one number of replicas. Times in seconds, by the server's own histograms, of the text
    model; recovery is from a death to the next token of each request that was in the dead host."""

    replicas: int
    sent: int = 0
    sent_by_task: dict[str, int] = {}
    failed: int = 0
    differences: list[Difference] = []
    failures: dict[str, int] = {}
    resumed: float = 0
    restarted: float = 0
    blamed: float = 0
    other_deaths: float = 0  # of hosts that were sent no signal
    regenerated_tokens: float = 0
    orphans: int = 0
    left_in_shm: list[str] = []
    cold_load: float = 0.0
    ready_p50: float | None = None  # from a host's death to the readiness of the next
    recovery_p50: float | None = None
    recovery_p99: float | None = None
    kills: list[Kill] = []
    tokens_per_second: list[float] = []  # of the streamed half of the texts, in bins
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
        return not (self.failed or self.wrong or self.other_deaths or self.orphans or self.left_in_shm)


def settings_file(models: dict[str, str]) -> str:
    """TOML that names models. Paths become absolute, as relative ones would be relative to the file; names
    without a slash mean the same there as on the command line."""
    entries = []
    for name, source in models.items():
        absolute = str(Path(source).absolute()) if "/" in source else source
        entries.append(f"[[models]]\nname = {json.dumps(name)}\nsource = {json.dumps(absolute)}\n")
    return "\n".join(entries)


def run_trial(trial: Trial, plan: Plan) -> None:
    environment = {"NACELLE_STALL_SECONDS": str(plan.stall_seconds)}
    before = in_shm()
    with serving(plan.models, trial.replicas, plan.properties, environment) as server:
        trial.cold_load = wait_until_loaded(server)
        for name in plan.models:
            server.wait_for(f"/ready/{name}", LOAD_SECONDS)
        observers = [Observer(server, name) for name in plan.models]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_load(trial, server, observers, plan))
        for observer in observers:
            observer.replicas()
        _read_metrics(trial, observers[0])
    trial.orphans = orphans(observers)
    trial.left_in_shm = sorted(in_shm() - before)


@contextlib.contextmanager
def serving(
    models: dict[str, str], replicas: int, properties: Sequence[str], environment: dict[str, str]
) -> Iterator[Server]:
    """A server of these models, which are not loaded yet."""
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(settings_file(models))
        file.flush()
        options = [word for item in properties for word in ("--property", item)]
        options += ["--config", file.name, "--replicas", str(replicas)]
        with nacelle_server(*options, environment=environment) as server:
            yield server


def in_shm() -> set[str]:
    """The names of what is in shared memory."""
    return set(os.listdir("/dev/shm"))  # noqa: S108, PTH208


def orphans(observers: Sequence[Observer]) -> int:
    """How many of the hosts that were seen still run."""
    return sum(psutil.pid_exists(pid) for pid in set().union(*(observer.pids for observer in observers)))


async def _load(trial: Trial, server: Server, observers: list[Observer], plan: Plan) -> None:
    client = Client(server.base_url + "/v1", None)
    deadline = plan.slowdown * _DEADLINE_SECONDS
    lanes, expected = await undisturbed(
        client, plan.lanes, plan.transcription, plan.recording, _DEADLINE_SECONDS
    )
    done = asyncio.Event()
    answers: list[Answered] = []
    turn = itertools.count()

    async def work(lane: Lane) -> None:
        while not done.is_set():
            index = next(turn) % len(lane.bodies)
            try:
                answers.append(Answered(lane, index, await lane.post(client, index, deadline)))
            except ClientError as error:
                answers.append(Answered(lane, index, error))
                await asyncio.sleep(_PAUSE_SECONDS)  # a refusal comes at once, and the next would too

    started = clock()
    workers = [
        asyncio.create_task(work(lane)) for lane in itertools.islice(itertools.cycle(lanes), plan.clients)
    ]
    try:
        with busy_loops(plan.busy_loops):
            trial.kills = await asyncio.to_thread(
                carry_out, plan.order, observers, plan.seed, plan.slowdown * PATIENCE_SECONDS
            )
    finally:
        done.set()
        await asyncio.gather(*workers)
        client.close()
    judge(trial, answers, expected, started)


async def undisturbed(
    client: Client,
    lanes: Sequence[Lane],
    transcription: str | None,
    recording: Recording | None,
    deadline: float,
) -> tuple[list[Lane], dict[str, list[Answer]]]:
    """All lanes, with those of the model that transcribes, and the answers before any kill.

    Raises RunFailed.
    """
    expected = await _undisturbed(client, lanes, deadline)
    listening: list[Lane] = []
    if transcription is not None:
        recordings = recordings_of(expected["speech"]) if recording is None else [recording]
        listening += transcription_lanes(transcription, recordings)
        if "speech" in expected:
            listening.append(realtime_lane(transcription, expected["speech"]))
        expected |= await _undisturbed(client, listening, deadline)
    return [*lanes, *listening], expected


async def _undisturbed(client: Client, lanes: Sequence[Lane], deadline: float) -> dict[str, list[Answer]]:
    """By task, the answer to each request before any kill. Raises RunFailed."""
    expected: dict[str, list[Answer]] = {}
    try:
        for lane in lanes:
            if lane.task not in expected:
                answers = [await lane.post(client, index, deadline) for index in range(len(lane.bodies))]
                expected[lane.task] = [lane.read(answer) for answer in answers]
    except ClientError as error:
        raise RunFailed(f"without any kill, a request failed: {error}") from error
    return expected


def compare(answer: Answered, expected: dict[str, list[Answer]]) -> Difference | None:
    """How an answer differs from the undisturbed one. Raises a ClientError if the request failed."""
    lane, outcome = answer.lane, answer.outcome
    if isinstance(outcome, ClientError):
        raise outcome
    what = difference(expected[lane.task][answer.request], lane.read(outcome))
    if what is None:
        return None
    return Difference(lane.task, answer.request, what, streamed=bool(outcome.events))


def judge(
    trial: Trial, answers: Sequence[Answered], expected: dict[str, list[Answer]], started: float
) -> None:
    """Compare every answer with the undisturbed one."""
    arrivals: list[float] = []
    failures: Counter[str] = Counter()
    for answer in answers:
        lane, outcome = answer.lane, answer.outcome
        try:
            found = compare(answer, expected)
            if found is not None:
                trial.differences.append(found)
            if isinstance(outcome, Response) and outcome.events and lane.task == "text":
                arrivals += read_response(outcome).arrivals
        except ClientError as error:
            failures[f"{lane.task}: {error.kind}: {error}"[:200]] += 1
    trial.sent, trial.failed, trial.failures = len(answers), failures.total(), dict(failures)
    trial.sent_by_task = dict(Counter(answer.lane.task for answer in answers))
    for kill in trial.kills:  # from the load's start on, as the picture has it
        assert kill.time >= started
    trial.kills = [msgspec.structs.replace(kill, time=kill.time - started) for kill in trial.kills]
    end = max(arrivals, default=started + _BIN_SECONDS)
    trial.tokens_per_second = timeline.rates(arrivals, started, end, _BIN_SECONDS)


def _read_metrics(trial: Trial, observer: Observer) -> None:
    samples = observer.metrics()
    trial.resumed = total(samples, "nacelle_resumed_total")
    trial.restarted = total(samples, "nacelle_restarted_total")
    trial.blamed = total(samples, "nacelle_blamed_total")
    trial.other_deaths = total(samples, "nacelle_host_restarts_total") - len(trial.kills)
    trial.regenerated_tokens = total(samples, "nacelle_regenerated_tokens_total")
    model = observer.model
    trial.ready_p50 = quantile(samples, "nacelle_host_recovery_seconds", 0.5, model=model)
    trial.recovery_p50 = quantile(samples, "nacelle_recovery_seconds", 0.5, model=model)
    trial.recovery_p99 = quantile(samples, "nacelle_recovery_seconds", 0.99, model=model)
