"""The run of `nacelle bench soak`: clients that ask without pause, a kill every so often, and samples."""

import asyncio
import itertools
import random
import signal
import tempfile
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import msgspec
import psutil
import uvloop

from bench import kills
from bench.chaos_traffic import Answer, Lane
from bench.chaos_trial import Answered, compare, in_shm, orphans, serving, undisturbed
from bench.client import Client, Response, clock
from bench.errors import ClientError
from bench.kills import PATIENCE_SECONDS, Kill, Observer, total
from bench.recordings import Recording
from bench.served import LOAD_SECONDS
from bench.server import Server, pss_mib
from bench.stats import percentile

_DEADLINE_SECONDS = 600.0  # of one request: many kills may fall into its life
_PAUSE_SECONDS = 0.2
_KEPT_RESPONSES = "64"  # few enough that the store is full before the memory is judged
_FAILURES_SHOWN = 20


class SoakPlan(msgspec.Struct, frozen=True):
    """What is served and done. `models` by their names on the server; times in seconds."""

    models: dict[str, str]
    lanes: list[Lane]
    clients: int
    replicas: int
    seconds: float
    kill_every: float
    sample_every: float
    properties: tuple[str, ...]
    stall_seconds: float
    seed: int
    transcription: str | None = None
    recording: Recording | None = None


class SoakSample(msgspec.Struct, frozen=True):
    """The state at a time, in seconds from the start. Memory is PSS, in MiB."""

    at: float
    frontend: float
    descriptors: int
    hosts: float  # all of them together
    largest_host: float
    done: int  # requests since the start
    failed: int
    kills: int
    recovered: int
    p50: float | None  # seconds, of the requests since the sample before
    p95: float | None


class EndpointCount(msgspec.Struct):
    """The requests of one endpoint. Latencies in seconds, of those that succeeded."""

    done: int = 0
    failed: int = 0
    wrong: int = 0
    latencies: list[float] = []

    def latency(self, share: float) -> float | None:
        return percentile(sorted(self.latencies), share) if self.latencies else None


class Soak(msgspec.Struct):
    """What happened. `recoveries` in seconds, from a kill to a server with all hosts ready."""

    seconds: float
    endpoints: dict[str, EndpointCount] = {}
    failures: dict[str, int] = {}
    samples: list[SoakSample] = []
    kills: list[Kill] = []  # by seconds from the start
    recoveries: list[float] = []
    other_deaths: float = 0
    blamed: float = 0
    orphans: int = 0
    left_in_shm: list[str] = []

    @property
    def done(self) -> int:
        return sum(count.done for count in self.endpoints.values())

    @property
    def failed(self) -> int:
        return sum(count.failed + count.wrong for count in self.endpoints.values())


def soak_server(plan: SoakPlan) -> Soak:
    """Raises RunFailed if the server does not start, answer undisturbed requests, or recover."""
    found = Soak(plan.seconds)
    before = in_shm()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "NACELLE_STALL_SECONDS": str(plan.stall_seconds),
            "NACELLE_FILE_STORE": folder,
            "NACELLE_SESSION_MAX_ENTRIES": _KEPT_RESPONSES,
        }
        with serving(plan.models, plan.replicas, plan.properties, environment) as server:
            for name in plan.models:
                server.wait_for(f"/ready/{name}", LOAD_SECONDS)
            observers = [Observer(server, name) for name in plan.models]
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_load(found, server, observers, plan))
            for observer in observers:
                observer.replicas()
            samples = observers[0].metrics()
            found.blamed = total(samples, "nacelle_blamed_total")
            found.other_deaths = total(samples, "nacelle_host_restarts_total") - len(found.kills)
    found.orphans = orphans(observers)
    found.left_in_shm = sorted(in_shm() - before)
    return found


async def _load(found: Soak, server: Server, observers: list[Observer], plan: SoakPlan) -> None:
    client = Client(server.base_url + "/v1")
    lanes, expected = await undisturbed(
        client, plan.lanes, plan.transcription, plan.recording, _DEADLINE_SECONDS
    )
    started = clock()
    done = asyncio.Event()
    recent: list[float] = []
    workers = [
        asyncio.create_task(_work(found, lane, expected, client, recent, done))
        for lane in itertools.islice(itertools.cycle(lanes), max(plan.clients, len(lanes)))
    ]
    watching = asyncio.create_task(_watch(found, server, recent, started, plan.sample_every))
    stop = threading.Event()
    try:
        killing = asyncio.create_task(asyncio.to_thread(_kill, found, observers, plan, started, stop))
        await asyncio.wait([killing, watching], timeout=plan.seconds, return_when=asyncio.FIRST_EXCEPTION)
        stop.set()
        await killing
    finally:
        stop.set()
        done.set()
        await asyncio.gather(*workers)
        watching.cancel()
        await asyncio.wait([watching])
        client.close()
    if not watching.cancelled():
        watching.result()


async def _work(
    found: Soak,
    lane: Lane,
    expected: dict[str, list[Answer]],
    client: Client,
    recent: list[float],
    done: asyncio.Event,
) -> None:
    for index in itertools.cycle(range(len(lane.bodies))):
        if done.is_set():
            return
        outcome: Response | ClientError
        try:
            outcome = await lane.post(client, index, _DEADLINE_SECONDS)
        except ClientError as error:
            outcome = error
        note(found, Answered(lane, index, outcome), expected, recent)
        if pause := _PAUSE_SECONDS if isinstance(outcome, ClientError) else lane.pause:
            await asyncio.sleep(pause)


def note(found: Soak, answer: Answered, expected: dict[str, list[Answer]], recent: list[float]) -> None:
    """Count an answer, compared with the undisturbed one; `recent` gets its latency."""
    count = found.endpoints.setdefault(answer.lane.task, EndpointCount())
    count.done += 1
    try:
        differs = compare(answer, expected)
        why = None if differs is None else f"{differs.task}: differs: {differs.what}"
        count.wrong += differs is not None
    except ClientError as error:
        why = f"{answer.lane.task}: {error.kind}: {error}"
        count.failed += 1
    if why is not None:
        known = (
            why[:300] if len(found.failures) < _FAILURES_SHOWN or why[:300] in found.failures else "others"
        )
        found.failures[known] = found.failures.get(known, 0) + 1
    elif isinstance(answer.outcome, Response):
        seconds = answer.outcome.finished - answer.outcome.started
        count.latencies.append(seconds)
        recent.append(seconds)


async def _watch(
    found: Soak, server: Server, recent: list[float], started: float, sample_every: float
) -> None:
    for number in itertools.count():
        await asyncio.sleep(max(0.0, started + number * sample_every - clock()))
        latencies = sorted(recent)
        recent.clear()
        memory, descriptors, hosts = await asyncio.to_thread(_look, server)
        found.samples.append(
            SoakSample(
                clock() - started,
                memory,
                descriptors,
                sum(hosts),
                max(hosts, default=0.0),
                found.done,
                found.failed,
                len(found.kills),
                len(found.recoveries),
                percentile(latencies, 0.5) if latencies else None,
                percentile(latencies, 0.95) if latencies else None,
            )
        )


def _look(server: Server) -> tuple[float, int, list[float]]:
    """The frontend's memory and descriptors, and the memory of each host."""
    hosts = []
    for host in server.hosts():
        try:
            hosts.append(pss_mib(host.pid))
        except (OSError, StopIteration, psutil.Error):  # it has been killed
            continue
    return pss_mib(server.pid), len(list(Path(f"/proc/{server.pid}/fd").iterdir())), hosts


def _kill(
    found: Soak, observers: Sequence[Observer], plan: SoakPlan, started: float, stop: threading.Event
) -> None:
    """Kill a host every `kill_every` seconds, of one model after the other, until `stop`.

    A model is spared until it has recovered from the kill before. Raises RunFailed if one does not.
    """
    chance = random.Random(plan.seed)  # noqa: S311  no secret
    signals: itertools.cycle[signal.Signals] = itertools.cycle(kills.plan(1, plan.seed))
    running: dict[str, Future[float]] = {}
    waiting = list(observers)
    with ThreadPoolExecutor(len(observers)) as pool:
        for number in itertools.count(1):
            if stop.wait(max(0.0, started + number * plan.kill_every - clock())):
                break
            while not (free := [o for o in waiting if o.model not in running]) and not stop.is_set():
                wait(running.values(), timeout=0.2, return_when=FIRST_COMPLETED)
                _collect(found, running)
            _collect(found, running)
            if not free:
                break
            victim = free[0]
            waiting.remove(victim)
            waiting.append(victim)
            kill, before = kills.strike(next(signals), victim, chance, PATIENCE_SECONDS)
            running[victim.model] = pool.submit(kills.await_recovery, kill, victim, before, PATIENCE_SECONDS)
            found.kills.append(msgspec.structs.replace(kill, time=kill.time - started))
        wait(running.values())
        _collect(found, running)


def _collect(found: Soak, running: dict[str, Future[float]]) -> None:
    for model in [model for model, recovery in running.items() if recovery.done()]:
        found.recoveries.append(running.pop(model).result())


def by_signal(sent: Sequence[Kill]) -> dict[str, int]:
    return dict(sorted(Counter(kill.signal for kill in sent).items()))
