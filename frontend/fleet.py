"""The hosts on this machine: one supervisor per replica, each tied to the route of its model."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from frontend.config import ModelSettings
from frontend.observability.metrics import Metrics
from frontend.routing.replica import Replica
from frontend.routing.route import LocalRoute
from frontend.routing.router import Router
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import State
from frontend.supervision.supervisor import Listener, Supervisor
from ipc.messages import ToFrontend

Spawner = Callable[[Listener], Supervisor]  # makes a supervisor that reports to the listener


class _Home(msgspec.Struct, frozen=True):
    route: LocalRoute
    replica: Replica


class Fleet:
    """Starts and stops the replicas of models while the server runs. Implements `supervisor.Listener`."""

    def __init__(
        self,
        router: Router,
        metrics: Metrics,
        max_queue: int,
        on_change: Callable[[Supervisor], None] = lambda _: None,
    ) -> None:
        """`on_change` is called after a replica's state has changed."""
        self._router = router
        self._metrics = metrics
        self._max_queue = max_queue
        self._on_change = on_change
        self._homes: dict[Supervisor, _Home] = {}

    @property
    def supervisors(self) -> list[Supervisor]:
        return list(self._homes)

    def add(self, settings: ModelSettings, spawners: Iterable[Spawner]) -> LocalRoute:
        """Serve a model with one replica per spawner, in the order of their numbers."""
        call_later = asyncio.get_running_loop().call_later
        metrics = self._metrics.of_model(settings.name)
        route = LocalRoute(settings, self._max_queue, metrics, time.monotonic, call_later)
        added = [spawner(self) for spawner in spawners]
        for supervisor in added:
            self._homes[supervisor] = _Home(route, route.add(supervisor))
        self._router.add(route)
        for supervisor in added:
            supervisor.start()
        return route

    async def remove(self, name: str, seconds: float) -> None:
        """Stop serving a model: its requests end, its hosts leave within `seconds`, its metrics with them.

        Raises ModelNotFound.
        """
        self._router.remove(name)
        leaving = [supervisor for supervisor in self.supervisors if supervisor.model == name]
        await self.stop(leaving, seconds)
        for supervisor in leaving:
            if supervisor.stopped.is_set():  # else a driver holds its process, whose end will still be told
                del self._homes[supervisor]
        self._metrics.forget_model(name)

    async def stop(self, supervisors: Sequence[Supervisor], seconds: float) -> int:
        """Stop replicas. Returns how many are still there after `seconds`: a driver can hold a process that
        was killed."""
        for supervisor in supervisors:
            supervisor.stop()
        if not supervisors:
            return 0
        gone = [asyncio.create_task(supervisor.stopped.wait()) for supervisor in supervisors]
        _, left = await asyncio.wait(gone, timeout=seconds)
        for task in left:
            task.cancel()
        return len(left)

    # --- Listener ---

    def replica_changed(self, replica: Supervisor) -> None:
        gauges = self._metrics.of_model(replica.model).of_replica(replica.number)
        for state in State:
            gauges.state(state.value).set(state is replica.life.state)
        self._homes[replica].route.changed()
        self._on_change(replica)

    def replica_said(self, replica: Supervisor, messages: Sequence[ToFrontend]) -> None:
        home = self._homes[replica]
        home.route.take(home.replica, messages)

    def replica_died(self, replica: Supervisor, death: Death) -> bool:
        if not death.expected:
            gauges = self._metrics.of_model(replica.model).of_replica(replica.number)
            gauges.restarts(death.cause).inc()
        home = self._homes[replica]
        return home.route.died(home.replica, death)
