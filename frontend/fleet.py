"""The hosts on this machine: one supervisor per replica, each tied to the route of its model."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from frontend.config import ModelSettings
from frontend.homes import Home, count_death, show_state, stop_all
from frontend.observability.metrics import Metrics
from frontend.routing.jobs import Settled
from frontend.routing.recovery import can_move
from frontend.routing.route import LocalRoute
from frontend.routing.router import Router
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import State
from frontend.supervision.supervisor import Listener, Supervisor
from ipc.messages import Launch, ToFrontend

Spawner = Callable[[Listener], Supervisor]  # makes a supervisor that reports to the listener


class Fleet:
    """Starts and stops the replicas of models while the server runs. Implements `supervisor.Listener`."""

    def __init__(self, router: Router, metrics: Metrics, max_queue: int) -> None:
        self.router = router
        self.metrics = metrics
        self.on_change: list[Callable[[Supervisor], None]] = []  # called after a replica's state has changed
        self.on_death: list[Callable[[Supervisor, Death], None]] = []
        self.on_settled: list[Callable[[LocalRoute, Settled], None]] = []  # called after a death was settled
        self._max_queue = max_queue
        self._homes: dict[Supervisor, Home] = {}

    @property
    def supervisors(self) -> list[Supervisor]:
        return list(self._homes)

    def of(self, name: str) -> list[Supervisor]:
        """The replicas of a model that is served, in the order of their numbers."""
        route = self.router.routes.get(name)
        return [supervisor for supervisor, home in self._homes.items() if home.route is route]

    def route(self, settings: ModelSettings) -> LocalRoute:
        """The route of a model that is to be added."""
        call_later = asyncio.get_running_loop().call_later
        metrics = self.metrics.of_model(settings.name)
        route = LocalRoute(settings, self._max_queue, metrics, time.monotonic, call_later)
        route.jobs.on_settled = partial(self._settled, route)
        return route

    def add(self, route: LocalRoute, spawners: Iterable[Spawner]) -> list[Supervisor]:
        """Serve a model with one replica per spawner, in the order of their numbers. None is started yet.

        Raises Conflict.
        """
        self.router.add(route)
        added = [spawner(self) for spawner in spawners]
        for supervisor in added:
            self._homes[supervisor] = Home(route, route.add(supervisor))
        return added

    def exchange(self, route: LocalRoute, spawners: Iterable[Spawner]) -> list[Supervisor]:
        """Give a model new replicas in place of those that it has, which must have stopped."""
        for supervisor in self.of(route.name):
            route.replicas.remove(self._homes.pop(supervisor).replica)
        added = [spawner(self) for spawner in spawners]
        for supervisor in added:
            self._homes[supervisor] = Home(route, route.add(supervisor))
        return added

    def limit_queues(self, max_queue: int) -> None:
        """From now on, so many requests may wait for each model."""
        self._max_queue = max_queue
        for home in self._homes.values():
            home.route.max_queue = max_queue

    def load(self, name: str, launch: Launch[Any]) -> None:
        """Start the replicas of a model that are not running, also those that failed."""
        for supervisor in self.of(name):
            supervisor.start(launch)

    def unload(self, name: str) -> None:
        """Stop the replicas of a model once they have finished what they have."""
        for supervisor in self.of(name):
            supervisor.stop()

    def remove(self, name: str) -> None:
        """Stop serving a model whose hosts were stopped, and forget its metrics. Raises ModelNotFound."""
        leaving = self.of(name)
        self.router.remove(name)
        for supervisor in leaving:
            if supervisor.stopped.is_set():  # else a driver holds its process, whose end will still be told
                del self._homes[supervisor]
        self.metrics.forget_model(name)

    async def stop(self, supervisors: Sequence[Supervisor], seconds: float) -> int:
        """Stop replicas. Returns how many are still there after `seconds`: a driver can hold a process that
        was killed."""
        return await stop_all(supervisors, seconds)

    # --- Listener ---

    def replica_changed(self, replica: Supervisor) -> None:
        route = self._homes[replica].route
        if not self._is_served(route):
            if replica.life.state is State.STOPPED:
                del self._homes[replica]
            return
        show_state(self.metrics, replica)
        route.changed()
        for told in self.on_change:
            told(replica)

    def replica_said(self, replica: Supervisor, messages: Sequence[ToFrontend]) -> None:
        home = self._homes[replica]
        home.route.take(home.replica, messages)

    def replica_died(self, replica: Supervisor, death: Death) -> bool:
        home = self._homes[replica]
        if not self._is_served(home.route):  # its name may be another model's by now
            return home.route.died(home.replica, death)
        count_death(self.metrics, replica, death)
        counted = home.route.died(home.replica, death)
        for told in self.on_death:
            told(replica, death)
        return counted

    def siblings_of(self, replica: Supervisor) -> list[Supervisor]:
        route = self._homes[replica].route
        return [other for other, home in self._homes.items() if home.route is route and other is not replica]

    def can_move(self, replica: Supervisor) -> bool:
        return all(can_move(job.progress) for job in self._homes[replica].replica.jobs.values())

    def held_by(self, replica: Supervisor) -> int:
        return len(self._homes[replica].replica.jobs)

    def _settled(self, route: LocalRoute, settled: Settled) -> None:
        for told in self.on_settled:
            told(route, settled)

    def _is_served(self, route: LocalRoute) -> bool:
        """False for the route of a model that was removed, whose last hosts are late."""
        return self.router.routes.get(route.name) is route
