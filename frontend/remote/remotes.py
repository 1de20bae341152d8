"""The replicas on other servers, each tied to the route of its model."""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec

from frontend.errors import ServerError
from frontend.observability.metrics import Metrics
from frontend.remote.backend import Backend
from frontend.remote.host import RemoteHost
from frontend.routing.replica import Replica
from frontend.routing.route import LocalRoute
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import State
from ipc.messages import ModelCard, TextCard, ToFrontend


class _Home(msgspec.Struct, frozen=True):
    route: LocalRoute
    replica: Replica


class Remotes:
    """Implements `host.Listener`."""

    def __init__(self, metrics: Metrics, room_bytes: int, drain_seconds: float) -> None:
        """`room_bytes`: of large payloads on their way to one server at a time."""
        self._metrics = metrics
        self._room_bytes = room_bytes
        self._drain_seconds = drain_seconds
        self._homes: dict[RemoteHost, _Home] = {}

    @property
    def hosts(self) -> list[RemoteHost]:
        return list(self._homes)

    def of(self, model: str) -> list[RemoteHost]:
        return [host for host in self._homes if host.model == model]

    def attach(self, route: LocalRoute, backends: Sequence[Backend]) -> None:
        """Add a replica per server to a route, numbered after its others, and begin to connect."""
        first = len(route.replicas)
        added = [
            RemoteHost(
                backend,
                route.name,
                number,
                self._room_bytes,
                self._drain_seconds,
                self,
                partial(_unlike, route),
            )
            for number, backend in enumerate(backends, first)
        ]
        for host in added:
            self._homes[host] = _Home(route, route.add(host))
        for host in added:
            host.start()

    async def detach(self, model: str, seconds: float) -> None:
        """Disconnect a model's replicas, after what they still do, within `seconds`."""
        leaving = self.of(model)
        await self.stop(leaving, seconds)
        for host in leaving:
            home = self._homes.pop(host)
            home.route.replicas.remove(home.replica)

    async def stop(self, hosts: Sequence[RemoteHost], seconds: float) -> None:
        for host in hosts:
            host.stop()
        if hosts:
            gone = [asyncio.create_task(host.stopped.wait()) for host in hosts]
            _, left = await asyncio.wait(gone, timeout=seconds)
            for task in left:
                task.cancel()

    # --- Listener ---

    def replica_changed(self, replica: RemoteHost) -> None:
        gauges = self._metrics.of_model(replica.model).of_replica(replica.number)
        for state in State:
            gauges.state(state.value).set(state is replica.life.state)
        self._homes[replica].route.changed()

    def replica_said(self, replica: RemoteHost, messages: Sequence[ToFrontend]) -> None:
        """Raises ChannelError where a message cannot be true."""
        home = self._homes[replica]
        home.route.take(home.replica, messages)

    def replica_died(self, replica: RemoteHost, death: Death) -> bool:
        if not death.expected:
            gauges = self._metrics.of_model(replica.model).of_replica(replica.number)
            gauges.restarts(death.cause).inc()
        home = self._homes[replica]
        return home.route.died(home.replica, death)

    def replica_rejected(
        self, replica: RemoteHost, request_id: int, error: ServerError, *, elsewhere: bool
    ) -> None:
        home = self._homes[replica]
        death = None
        if elsewhere:
            death = Death(
                model=replica.model,
                replica=replica.number,
                device=replica.device,
                pid=0,
                phase=replica.life.state.value,
                expected=True,
                lost=error.message,
            )
        home.route.rejected(home.replica, request_id, error, death)


def _unlike(route: LocalRoute, card: ModelCard) -> str | None:
    """Why a peer's model cannot be a replica beside the others; None: it can. Texts are continued by their
    token ids, so that the vocabulary must be the same."""
    others = [host.card for host in route.hosts if host.card is not None]
    for other in others:
        if type(other) is not type(card):
            return "its model is for another task than the other replicas"
        if not (isinstance(card, TextCard) and isinstance(other, TextCard)):
            continue
        if card.vocab_size != other.vocab_size:
            return (
                f"its model is another one: a vocabulary of {card.vocab_size} tokens, not {other.vocab_size}"
            )
    return None
