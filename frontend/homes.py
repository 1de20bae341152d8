"""What the keepers of hosts do alike, whether these are processes here or servers elsewhere."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from frontend.observability.metrics import Metrics
from frontend.routing.replica import Host, Replica
from frontend.routing.route import LocalRoute
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import State


class Home(msgspec.Struct, frozen=True):
    """Where a host belongs."""

    route: LocalRoute
    replica: Replica


class KeptHost(Host, Protocol):
    """A host that somebody starts and stops."""

    stopped: asyncio.Event

    @property
    def model(self) -> str: ...

    def stop(self) -> None:
        """It leaves once it has finished what it has; `stopped` is set then."""


async def stop_all(hosts: Sequence[KeptHost], seconds: float) -> int:
    """Stop hosts. Returns how many are still there after `seconds`."""
    for host in hosts:
        host.stop()
    if not hosts:
        return 0
    gone = [asyncio.create_task(host.stopped.wait()) for host in hosts]
    _, left = await asyncio.wait(gone, timeout=seconds)
    for task in left:
        task.cancel()
    return len(left)


def show_state(metrics: Metrics, host: KeptHost) -> None:
    """Its state, as metrics."""
    gauges = metrics.of_model(host.model).of_replica(host.number)
    for state in State:
        gauges.state(state.value).set(state is host.life.state)


def count_death(metrics: Metrics, host: KeptHost, death: Death) -> None:
    """Unless it was expected."""
    if not death.expected:
        metrics.of_model(host.model).of_replica(host.number).restarts(death.cause).inc()
