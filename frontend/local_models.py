"""The models on this machine: from what was prepared to hosts that are loaded at the start or on demand."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import zmq

from frontend.config import GIB, Settings
from frontend.dialect_log import DialectLog
from frontend.fleet import Fleet, Spawner
from frontend.library import Library
from frontend.models.placement import launch_of, total_replicas
from frontend.models.resolve import PreparedModel
from frontend.models.root import store_root
from frontend.residency.adding import on_demand, prepare_installed
from frontend.residency.limits import expected_bytes, files_bytes, limits_of
from frontend.residency.manager import Manager
from frontend.residency.measurements import Measurements, WhileRunning
from frontend.residency.served import Served
from frontend.residency.state import Resident
from frontend.routing.route import LocalRoute
from frontend.supervision.incarnation import ArenaSizes
from frontend.supervision.supervisor import Listener, Supervisor, SupervisorOptions
from ipc.messages import Launch, Options, TextOptions, task_of

TEXT_ENGINES = ("text", "stateful", "synthetic")
_BURIAL_SECONDS = 2.0

log = logging.getLogger("nacelle")


class LocalModels:
    """Builds the library of a server and puts models into it."""

    def __init__(
        self,
        settings: Settings,
        fleet: Fleet,
        socket_path: Callable[[str], Path],
        context: "zmq.Context[zmq.Socket[bytes]]",
        available_memory: int,
        measurements: Measurements | None = None,
    ) -> None:
        """`available_memory` is in bytes, before any model is loaded. Raises ConfigError."""
        self._settings = settings
        self._fleet = fleet
        self._socket_path = socket_path
        self._context = context
        self._available = available_memory
        self._replicas = 1  # that share the memory for KV caches
        self._measurements = measurements or WhileRunning()
        self._is_limited = _is_limited(settings)
        self._adding = asyncio.Lock()
        self._prepared: dict[str, PreparedModel] = {}
        fleet.on_change.append(DialectLog(lambda name: self._prepared[name].settings).replica_changed)
        self._manager = Manager(
            fleet,
            limits_of(settings, available_memory),
            settings.load_wait_seconds,
            settings.request_timeout_seconds,
            self._measurements,
        )
        stop_seconds = settings.drain_seconds + settings.term_seconds + _BURIAL_SECONDS
        self.library = Library(fleet.router, self._manager, self.add_installed, stop_seconds)

    @property
    def running(self) -> dict[str, PreparedModel]:
        """What is served, by name."""
        return {name: model for name, model in self._prepared.items() if name in self._manager.served}

    async def finish(self, name: str, seconds: float) -> None:
        """Until a model has no work left, or that time is over."""
        await self._manager.finish(name, seconds)

    def start(self, prepared: Sequence[PreparedModel]) -> None:
        """Serve models. Those that are not on demand are loaded, within the limits if any were set."""
        self._replicas = total_replicas([model for model in prepared if model.settings.preload]) or 1
        for model in prepared:
            self.add(model)
        self.preload(prepared)

    def preload(self, prepared: Sequence[PreparedModel]) -> None:
        """Load those of these models that are not on demand, within the limits if any were set."""
        for model in prepared:
            name = model.settings.name
            if not model.settings.preload:
                continue
            if not self._is_limited:
                self._manager.start_at_once(name)
            elif not self._manager.preload(name):
                log.warning("%s does not fit beside the models before it; it is loaded on demand", name)

    def close(self) -> None:
        self._manager.close()

    def persists(self, replica: Supervisor) -> bool:
        """Whether a replica that failed keeps trying: its model is one of those that are always loaded."""
        return self._manager.persists(replica)

    async def add_installed(self, source: str, name: str | None = None) -> list[str]:
        """Serve a model that is on this machine, and its adapters, unloaded. Returns their names.

        Raises ModelNotFound, BadRequest or Conflict.
        """
        settings = on_demand(source, name)
        async with self._adding:
            self._fleet.router.check_free(settings.name)
            prepared = await asyncio.to_thread(prepare_installed, self._settings, settings)
            for model in prepared:
                self._fleet.router.check_free(model.settings.name)
            for model in prepared:
                self.add(model)
        return [model.settings.name for model in prepared]

    def add(self, model: PreparedModel) -> None:
        """Serve a model, unloaded. Raises Conflict."""
        self._fleet.router.check_free(model.settings.name)
        launch = self._launch(model, smaller=False)
        served, resident = self._defined(model, launch, self._fleet.route(model.settings))
        self._prepared[model.settings.name] = model
        self._manager.add(served, self._spawners(model, launch), resident)

    def replace(self, model: PreparedModel) -> None:
        """Serve this one under the name of another, which finishes what runs; what waits is not lost."""
        name = model.settings.name
        self._prepared[name] = model

        def swap() -> None:
            route = self._manager.served[name].route
            route.settings = model.settings
            launch = self._launch(model, smaller=False)
            served, resident = self._defined(model, launch, route)
            served.supervisors = self._fleet.exchange(route, self._spawners(model, launch))
            self._manager.redefine(served, resident)
            asyncio.get_running_loop().call_soon(self._preload_again, model)

        self._manager.replace(name, swap)

    def _preload_again(self, model: PreparedModel) -> None:
        if self._prepared.get(model.settings.name) is model and model.settings.name in self._manager.served:
            self.preload([model])

    def adjust(self, model: PreparedModel) -> None:
        """Follow settings that the model's processes do not know."""
        if self._manager.is_replacing(model.settings.name):  # by what other settings asked for
            self.replace(model)
            return
        before = self._manager.served[model.settings.name]
        self._prepared[model.settings.name] = model
        before.route.settings = model.settings
        served, resident = self._defined(model, self._launch(model, smaller=False), before.route)
        served.supervisors, served.loaded_at = before.supervisors, before.loaded_at
        served.loading_since, served.reason = before.loading_since, before.reason
        now = self._manager.resident(model.settings.name)
        self._manager.redefine(served, msgspec.structs.replace(resident, bytes=now.bytes))

    def limit(self, settings: Settings) -> None:
        """Follow the limits in these settings."""
        self._is_limited = _is_limited(settings)
        self._manager.limit(limits_of(settings, self._available), settings.load_wait_seconds)

    def _defined(
        self, model: PreparedModel, launch: Launch[Options], route: LocalRoute
    ) -> tuple[Served, Resident]:
        settings = model.settings
        files = files_bytes(model)
        kv_cache = launch.options.kv_cache_bytes if isinstance(launch.options, TextOptions) else 0
        known = self._measurements.recall(model.path, settings.device)
        served = Served(
            route=route,
            path=model.path,
            launch=lambda smaller: self._launch(model, smaller),
            keep_alive=_lifetime(settings.keep_alive_seconds),
            task=_task(model.engine),
            engine=model.engine,
            size_bytes=files,
            is_stored=not settings.preload and self._is_in_store(model),
            growth_bytes=settings.replicas * kv_cache,
            load_seconds=known.load_seconds if known else None,
        )
        if (
            model.engine == "text"
            and isinstance(launch.options, TextOptions)
            and launch.options.prefix_caching
        ):
            served.route.rehearse()
        resident = Resident(
            name=settings.name,
            device=settings.device,
            bytes=served.growth_bytes
            + expected_bytes(files, settings.replicas, known.memory_bytes if known else None),
            pinned=settings.pinned,
            keep_alive=served.keep_alive,
        )
        return served, resident

    def _is_in_store(self, model: PreparedModel) -> bool:
        return bool(model.path) and Path(model.path).is_relative_to(store_root(self._settings.store))

    def _launch(self, model: PreparedModel, smaller: bool) -> Launch[Options]:
        launch = launch_of(model, self._settings, self._available, self._replicas)
        if not smaller or not isinstance(launch.options, TextOptions):
            return launch
        halved = msgspec.structs.replace(launch.options, kv_cache_bytes=launch.options.kv_cache_bytes // 2)
        return msgspec.structs.replace(launch, options=halved)

    def _arenas(self, engine: str) -> ArenaSizes:
        """An arena of uploads holds the largest one; what is not written takes no memory."""
        usual = self._settings.arena_bytes
        largest = self._settings.max_upload_bytes if task_of(engine).uploads else 0
        return ArenaSizes(max(usual, largest), usual)

    def _spawners(self, model: PreparedModel, launch: Launch[Options]) -> list[Spawner]:
        def spawner(number: int) -> Spawner:
            options = SupervisorOptions(
                launch=launch,
                replica=number,
                arenas=self._arenas(launch.engine),
                drain_seconds=self._settings.drain_seconds,
                term_seconds=self._settings.term_seconds,
                recycle_seconds=self._settings.request_timeout_seconds,
                soft_memory_bytes=round((model.settings.soft_memory_gib or 0) * GIB),
                tuned=model.tuned,
            )

            def spawn(listener: Listener) -> Supervisor:
                return Supervisor(options, self._socket_path, self._context, listener)

            return spawn

        return [spawner(number) for number in range(model.settings.replicas)]


def _is_limited(settings: Settings) -> bool:
    return bool(settings.memory_budget_gib or settings.max_loaded_models)


def _lifetime(seconds: float | None) -> float | None:
    """A keep-alive as the policy takes it; None: for ever."""
    return None if seconds is None or seconds < 0 else seconds


def _task(engine: str) -> str:
    """What a model of an engine is for, as in the setting `task`."""
    return "text" if engine in TEXT_ENGINES else engine
