"""A seeded plan of kills, and its execution on hosts that have requests in flight."""

import json
import os
import random
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from bench.client import clock
from bench.errors import RunFailed
from bench.server import Server

SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGSTOP)
_POLL_SECONDS = 0.25  # rare enough not to slow down hosts that are loading
PATIENCE_SECONDS = 300.0  # for a host to become busy, and for the recovery after a kill

Found = TypeVar("Found")
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Kill(msgspec.Struct, frozen=True):
    """One signal sent, at `time` in `clock`'s seconds."""

    time: float
    signal: str
    replica: int
    model: str = ""


class ReplicaState(msgspec.Struct, frozen=True):
    """One replica, as reported by /ready/MODEL."""

    replica: int
    state: str
    pid: int | None


class Observer:
    """Watches one model of a server through HTTP endpoints."""

    def __init__(self, server: Server, model: str) -> None:
        self._base_url = server.base_url
        self.model = model
        self.pids: set[int] = set()  # every host ever seen

    def replicas(self) -> list[ReplicaState]:
        found = json.loads(self._get(f"/ready/{self.model}"))["replicas"]
        replicas = msgspec.convert(found, list[ReplicaState])
        self.pids |= {replica.pid for replica in replicas if replica.pid}
        return replicas

    def metrics(self) -> Samples:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(self._get("/metrics").decode())
            for sample in family.samples
        }

    def working(self) -> list[ReplicaState]:
        """The READY replicas with requests in flight."""
        ready = [replica for replica in self.replicas() if replica.state == "ready"]
        samples = self.metrics() if ready else {}
        return [
            replica
            for replica in ready
            if self._total(samples, "nacelle_requests_running", replica=str(replica.replica))
        ]

    def over(self, before: Samples) -> bool:
        """Whether the server has recovered: since `before` a death was noticed and a request completed, every
        replica is ready again, no request is queued, and some are running."""
        if any(replica.state != "ready" for replica in self.replicas()):
            return False
        now = self.metrics()
        for grows in ("nacelle_host_restarts_total", "nacelle_request_seconds_count"):
            if self._total(now, grows) == self._total(before, grows):
                return False
        return not self._total(now, "nacelle_requests_queued") and bool(self.working())

    def _total(self, samples: Samples, name: str, **labels: str) -> float:
        return total(samples, name, model=self.model, **labels)

    def _get(self, path: str) -> bytes:
        try:
            with urllib.request.urlopen(self._base_url + path, timeout=60) as answer:  # noqa: S310
                return bytes(answer.read())
        except urllib.error.HTTPError as error:  # a model that is not ready answers with 503 and its state
            with error:
                return bytes(error.read())


def plan(per_signal: int, seed: int) -> list[signal.Signals]:
    """Each signal `per_signal` times, in an order that depends on the seed only."""
    order = list(SIGNALS) * per_signal
    random.Random(seed).shuffle(order)  # noqa: S311  no secret
    return order


def carry_out(
    order: list[signal.Signals], observers: Sequence[Observer], seed: int, patience: float
) -> list[Kill]:
    """Send each signal to a READY host of each model with requests in flight, after the recovery from the one
    before. Raises RunFailed if no host is busy, or none recovers, within `patience` seconds."""
    chance = random.Random(seed)  # noqa: S311  no secret
    sent = []
    for number in order:
        for observer in observers:
            kill, before = strike(number, observer, chance, patience)
            sent.append(kill)
            await_recovery(kill, observer, before, patience)
    return sent


def strike(
    number: signal.Signals, observer: Observer, chance: random.Random, patience: float
) -> tuple[Kill, Samples]:
    """Send a signal to a READY host with requests in flight; also return the metrics of just before.

    Raises RunFailed if no host is busy within `patience` seconds.
    """
    busy = _wait(observer.working, f"a host of {observer.model} with requests in flight", patience)
    victim = chance.choice(busy)
    before = observer.metrics()
    assert victim.pid is not None, "a ready replica has a process"
    os.kill(victim.pid, number)
    return Kill(clock(), number.name, victim.replica, observer.model), before


def await_recovery(kill: Kill, observer: Observer, before: Samples, patience: float) -> float:
    """Wait until the server has recovered; return the seconds since the kill. Raises RunFailed."""
    _wait(partial(observer.over, before), f"the recovery of {kill.model} from {kill.signal}", patience)
    return clock() - kill.time


def _wait(condition: Callable[[], Found], what: str, patience: float) -> Found:
    deadline = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise RunFailed(f"timed out after {patience:g} s waiting for {what}")
        time.sleep(_POLL_SECONDS)
    return found


def total(samples: Samples, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels."""
    return sum(
        value
        for (found, carried), value in samples.items()
        if found == name and labels.items() <= dict(carried).items()
    )


def quantile(samples: Samples, name: str, share: float, **labels: str) -> float | None:
    """A quantile of the histogram that carries `labels`, interpolated within its bucket; None if it is
    empty."""
    buckets = sorted(
        (float(dict(carried)["le"]), count)
        for (found, carried), count in samples.items()
        if found == f"{name}_bucket" and labels.items() <= dict(carried).items()
    )
    if not buckets or not buckets[-1][1]:
        return None
    wanted = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for upper, count in buckets:
        if count >= wanted and upper != float("inf"):
            return lower + (upper - lower) * (wanted - below) / (count - below)
        lower, below = (lower if upper == float("inf") else upper), count
    return lower
