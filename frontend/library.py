"""The models that this server can serve, and what can be done with them while it runs."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import msgspec

from frontend.access.sight import asking, sight
from frontend.caller import ANYBODY
from frontend.errors import Conflict
from frontend.residency import room
from frontend.residency.manager import Manager
from frontend.residency.served import Served
from frontend.residency.state import Phase, Resident
from frontend.routing.replica import answers
from frontend.routing.route import Route
from frontend.routing.router import Router
from frontend.supervision.memory import held_bytes

_EVENTS = 256  # that wait for one listener; the oldest are dropped

_STATES = {
    Phase.UNLOADED: "unloaded",
    Phase.LOADING: "loading",
    Phase.READY: "ready",
    Phase.CLOSING: "draining",
    Phase.STOPPING: "draining",
}


class ModelStatus(msgspec.Struct, kw_only=True):
    """One model as operators see it. Sizes are in bytes, times in Unix seconds."""

    name: str
    source: str
    task: str
    engine: str
    device: str
    state: str  # unloaded, loading, ready, draining, failed or remote
    reason: str | None = None  # why it failed
    size_bytes: int = 0  # of its files; 0 if it has none
    memory_bytes: int = 0  # that its hosts hold now
    context_length: int | None = None  # in tokens; None until it was loaded once
    replicas: int = 0
    running: int = 0  # requests that hosts hold
    queued: int = 0
    pinned: bool = False
    expires_at: float | None = None  # when it is unloaded, if it is idle until then; None: never
    loaded_at: float | None = None
    load_seconds: float | None = None  # the last load took
    aliases: list[str] = []


class ModelEvent(msgspec.Struct, kw_only=True):
    """A model's status has changed. `status` is None once it is no longer served."""

    at: float
    name: str
    status: ModelStatus | None


class Library:
    """Every method takes any name of a model, and raises ModelNotFound where it has no meaning."""

    def __init__(
        self,
        router: Router,
        manager: Manager | None = None,
        add: Callable[[str, str | None], Awaitable[list[str]]] | None = None,
        stop_seconds: float = 0.0,
    ) -> None:
        """`add(source, name)` prepares a model and gives it to the manager; returns the names that it has
        now. `stop_seconds`: how long the hosts of a model that is removed may take to leave."""
        self._router = router
        self._manager = manager
        self._add = add
        self._stop_seconds = stop_seconds
        self._listeners: set[asyncio.Queue[ModelEvent]] = set()
        self.aliases_of: Callable[[str], list[str]] = lambda _name: []
        if manager is not None:
            manager.on_change.append(self._changed)

    def statuses(self) -> list[ModelStatus]:
        return [self._status(route) for route in self._router.visible_routes]

    def status(self, name: str) -> ModelStatus:
        route = self._router.routes.get(name) if sight().has(name) else None  # also while it is removed
        return self._status(self._router.routes[self._name(name)] if route is None else route)

    def folder(self, name: str) -> str:
        """Where its files are; empty for a model that has none here."""
        name = self._name(name)
        manager = self._managed(name)
        return "" if manager is None else manager.served[name].path

    def is_on_demand(self, name: str) -> bool:
        """Whether a model that is not ready will be loaded with the next request for it."""
        name = self._name(name)
        manager = self._managed(name)
        if manager is None or manager.resident(name).persistent:
            return False
        return self.status(name).state in ("unloaded", "loading", "draining")

    async def load(self, name: str, keep_alive: float | None = None) -> None:
        """Until it is ready. `keep_alive` as in `keep_alive()`. Raises ModelUnavailable or RequestTimeout."""
        name = self._name(name)
        manager = self._managed(name)
        if manager is not None:
            if keep_alive is not None:
                manager.keep_alive(name, keep_alive)
            await manager.load(name)

    async def unload(self, name: str) -> None:
        """Its running requests finish; requests that arrive meanwhile wait and get it loaded again."""
        name = self._name(name)
        manager = self._managed(name)
        if manager is not None:
            await manager.unload(name)

    async def let_go(self, name: str) -> None:
        """Unload it if it is idle, or as soon as it is, unless it is pinned."""
        name = self._name(name)
        manager = self._managed(name)
        if manager is not None:
            await manager.let_go(name)

    def pin(self, name: str, pinned: bool) -> None:
        """A pinned model is unloaded only on request."""
        name = self._name(name)
        manager = self._managed(name)
        if manager is not None:
            manager.pin(name, pinned)

    def keep_alive(self, name: str, seconds: float | None) -> None:
        """How long it stays loaded without work, until it is unloaded next or this is called again.

        0: unload it once it is idle. Negative: keep it for ever. None: as configured.
        """
        name = self._name(name)
        manager = self._managed(name)
        if manager is not None:
            manager.keep_alive(name, seconds)

    def names(self) -> set[str]:
        return set(self._router.routes)

    def gone(self) -> list[str]:
        """Models that are not loaded, and were served because the store had them: it does no longer."""
        if self._manager is None:
            return []
        return [
            name
            for name, served in self._manager.served.items()
            if served.is_gone and self._manager.resident(name).phase is Phase.UNLOADED
        ]

    async def add(self, source: str, name: str | None = None) -> ModelStatus:
        """Serve a model that is on this machine, loaded on demand. Raises ModelNotFound or Conflict."""
        if self._add is None:
            raise Conflict("this server cannot add models")
        with asking(ANYBODY):  # what was added may have a name that its caller may not use
            names = await self._add(source, name)
            return self.status(names[0])

    async def remove(self, name: str) -> None:
        """Stop serving a model; its requests end with ModelNotFound."""
        async with self.removing([self._name(name)]):
            pass

    @contextlib.asynccontextmanager
    async def removing(self, names: Sequence[str]) -> AsyncIterator[None]:
        """Inside, these models are closed and unloaded, and their requests have ended with ModelNotFound.
        They are not served any longer after it, or are served again where that ends with an error.

        Their names, some of which may stand for no model, are closed to others that are added. Raises
        Conflict where somebody else removes one already.
        """
        managed = {name: manager for name in names if (manager := self._managed(name)) is not None}
        kept = [name for name, manager in managed.items() if manager.resident(name).persistent]
        with self._router.closed(names):
            try:
                await asyncio.gather(
                    *(manager.vacate(name, self._stop_seconds) for name, manager in managed.items())
                )
                yield
            except BaseException:
                for name in kept:
                    managed[name].start_at_once(name)
                raise
            for name in names:
                if name in managed:
                    managed[name].remove(name)
                elif name in self._router.routes:
                    self._router.remove(name)

    async def events(self) -> AsyncIterator[ModelEvent]:
        """Changes from now on. Whoever reads too slowly misses the oldest."""
        queue: asyncio.Queue[ModelEvent] = asyncio.Queue(_EVENTS)
        self._listeners.add(queue)
        try:
            while True:
                event = await queue.get()
                if sight().has(event.name):
                    yield event
        finally:
            self._listeners.discard(queue)

    def announce(self, name: str) -> None:
        """Tell whoever follows the events that something about a model has changed, such as its aliases."""
        self._changed(name)

    # --- inside ---

    def _name(self, name: str) -> str:
        """The name of the model that is meant. Raises ModelNotFound."""
        if name in self._router.routes and name not in self._router.removing and sight().has(name):
            return name
        return self._router.resolve(name, key="").model

    def _managed(self, name: str) -> Manager | None:
        """The manager of a model on this machine; None for any other model."""
        return self._manager if self._manager is not None and name in self._manager.served else None

    def _changed(self, name: str) -> None:
        if not self._listeners:
            return
        route = self._router.routes.get(name)
        status = None if route is None else self._status(route)
        event = ModelEvent(at=time.time(), name=name, status=status)
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(event)

    def _status(self, route: Route) -> ModelStatus:
        manager = self._managed(route.name)
        if manager is None:
            return _unmanaged(route, self.aliases_of(route.name))
        served, model = manager.served[route.name], manager.resident(route.name)
        return ModelStatus(
            name=route.name,
            source=route.settings.source,
            task=served.task,
            engine=served.engine,
            device=model.device,
            state="draining" if route.name not in self._router.served else _state(served, model),
            reason=served.reason if _state(served, model) == "failed" else None,
            size_bytes=served.size_bytes,
            memory_bytes=held_bytes(host.pid for host in route.hosts),
            context_length=route.last_card.context_length if route.last_card else None,
            replicas=len(route.hosts),
            running=served.route.running,
            queued=served.route.queued,
            pinned=model.pinned,
            expires_at=_expires_at(model),
            loaded_at=served.loaded_at,
            load_seconds=served.load_seconds,
            aliases=self.aliases_of(route.name),
        )


def _state(served: Served, model: Resident) -> str:
    if model.phase is Phase.UNLOADED and served.reason is not None:
        return "failed"
    return _STATES[model.phase]


def _expires_at(model: Resident) -> float | None:
    """Of a model that has work: as if that ended now."""
    if model.phase is not Phase.READY or model.keep_alive is None or model.pinned:
        return None
    if model.busy:
        return time.time() + model.keep_alive
    at = room.expires_at(model)
    return None if at is None else time.time() + max(0.0, at - time.monotonic())


def _unmanaged(route: Route, aliases: Sequence[str]) -> ModelStatus:
    """A model that is elsewhere."""
    ready = any(map(answers, route.hosts))
    return ModelStatus(
        name=route.name,
        source=route.settings.source,
        task=route.settings.task,
        engine=route.settings.engine,
        device=route.settings.device,
        state="remote",
        reason=None if ready else next((host.life.reason for host in route.hosts if host.life.reason), None),
        context_length=route.last_card.context_length if route.last_card else None,
        replicas=len(route.hosts),
        aliases=list(aliases),
    )
