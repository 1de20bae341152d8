"""The replicas on other servers, each tied to the route of its model."""

import asyncio
from collections.abc import Sequence
from functools import partial

from frontend.config import ModelSettings, Settings
from frontend.errors import ServerError
from frontend.fleet import Fleet
from frontend.homes import Home, count_death, show_state, stop_all
from frontend.models.options import REMOTE
from frontend.remote.backend import Backend, backends_of
from frontend.remote.host import RemoteHost
from frontend.routing.route import LocalRoute, Route
from frontend.supervision.death import Death
from ipc.messages import ModelCard, TextCard, ToFrontend

_HANG_UP_SECONDS = 2.0


class Remotes:
    """Implements `host.Listener`. What a replica reports whose model was removed is ignored."""

    def __init__(self, settings: Settings, fleet: Fleet) -> None:
        self._fleet = fleet
        self._metrics = fleet.metrics
        self._room_bytes = max(settings.arena_bytes, settings.max_upload_bytes)
        self._drain_seconds = settings.drain_seconds
        self._homes: dict[RemoteHost, Home] = {}
        self._leaving: dict[RemoteHost, asyncio.Task[None]] = {}
        fleet.router.on_remove.append(self._removed)

    @property
    def hosts(self) -> list[RemoteHost]:
        return list(self._homes)

    def serve(self, settings: ModelSettings) -> None:
        """Let a model have one replica per server that its settings name, and begin to connect to new ones.
        Those that are no longer named finish what they have. A model without replicas here gets a route of
        its own.

        Raises ConfigError.
        """
        backends = backends_of(settings)
        route = self._fleet.router.routes.get(settings.name)
        if route is None:
            if not backends:
                return
            route = self._fleet.route(settings)
            self._fleet.add(route, [])
        assert isinstance(route, LocalRoute)
        if settings.source == REMOTE:
            route.settings = settings
        mine = [host for host, home in self._homes.items() if home.route is route]
        staying = [host.backend for host in mine if host not in self._leaving]
        for host in mine:
            if host.backend not in backends and host not in self._leaving:
                self._leaving[host] = asyncio.create_task(self._leave(host))
        first = max((host.number for host in route.hosts), default=-1) + 1
        new = [backend for backend in backends if backend not in staying]
        added = [self._host(route, backend, number) for number, backend in enumerate(new, first)]
        for host in added:
            self._homes[host] = Home(route, route.add(host))
        for host in added:
            host.start()

    async def _leave(self, host: RemoteHost) -> None:
        await stop_all([host], self._drain_seconds + _HANG_UP_SECONDS)
        home = self._homes.pop(host, None)
        if home is not None:
            home.route.replicas.remove(home.replica)
            home.route.changed()
        del self._leaving[host]

    def _host(self, route: LocalRoute, backend: Backend, number: int) -> RemoteHost:
        check_card = partial(_unlike, route)
        return RemoteHost(
            backend, route.name, number, self._room_bytes, self._drain_seconds, self, check_card
        )

    def _removed(self, route: Route) -> None:
        """Its requests have ended already."""
        leaving = [host for host, home in self._homes.items() if home.route is route]
        for host in leaving:
            host.stop()
            del self._homes[host]

    # --- Listener ---

    def replica_changed(self, replica: RemoteHost) -> None:
        home = self._homes.get(replica)
        if home is None:
            return
        show_state(self._metrics, replica)
        home.route.changed()

    def replica_said(self, replica: RemoteHost, messages: Sequence[ToFrontend]) -> None:
        """Raises ChannelError where a message cannot be true."""
        home = self._homes.get(replica)
        if home is not None:
            home.route.take(home.replica, messages)

    def replica_died(self, replica: RemoteHost, death: Death) -> bool:
        home = self._homes.get(replica)
        if home is None:
            return True
        count_death(self._metrics, replica, death)
        return home.route.died(home.replica, death)

    def replica_rejected(
        self, replica: RemoteHost, request_id: int, error: ServerError, *, elsewhere: bool
    ) -> None:
        home = self._homes.get(replica)
        if home is None:
            return
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
