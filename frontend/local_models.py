"""The models on this machine: from what was prepared to hosts that are loaded at the start or on demand."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import zmq

from frontend.config import GIB, Settings
from frontend.errors import Conflict
from frontend.fleet import Fleet, Spawner
from frontend.library import Library
from frontend.models.placement import launch_of, total_replicas
from frontend.models.resolve import PreparedModel
from frontend.residency.adding import on_demand, prepare_installed
from frontend.residency.limits import expected_bytes, files_bytes, limits_of
from frontend.residency.manager import Manager, Served
from frontend.residency.measurements import Measurements, WhileRunning
from frontend.residency.state import Resident
from frontend.supervision.incarnation import ArenaSizes
from frontend.supervision.supervisor import Listener, Supervisor, SupervisorOptions
from ipc.messages import Launch, Options, TextOptions, task_of

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
        self._adding = asyncio.Lock()
        self._manager = Manager(
            fleet,
            limits_of(settings, available_memory),
            settings.load_wait_seconds,
            settings.request_timeout_seconds,
            self._measurements,
        )
        stop_seconds = settings.drain_seconds + settings.term_seconds + _BURIAL_SECONDS
        self.library = Library(fleet.router, self._manager, self.add_installed, stop_seconds)

    def start(self, prepared: Sequence[PreparedModel]) -> None:
        """Serve models. Those that are not on demand are loaded, within the limits if any were set."""
        self._replicas = total_replicas([model for model in prepared if model.settings.preload]) or 1
        for model in prepared:
            self.add(model)
        limited = bool(self._settings.memory_budget_gib or self._settings.max_loaded_models)
        for model in prepared:
            name = model.settings.name
            if not model.settings.preload:
                continue
            if not limited:
                self._manager.start_at_once(name)
            elif not self._manager.preload(name):
                log.warning("%s does not fit beside the models before it; it is loaded on demand", name)

    def close(self) -> None:
        self._manager.close()

    def persists(self, replica: Supervisor) -> bool:
        """Whether a replica that failed keeps trying: its model is one of those that are always loaded."""
        return self._manager.resident(replica.model).persistent

    async def add_installed(self, source: str, name: str | None = None) -> list[str]:
        """Serve a model that is on this machine, and its adapters, unloaded. Returns their names.

        Raises ModelNotFound, BadRequest or Conflict.
        """
        settings = on_demand(source, name)
        async with self._adding:
            self._check_free(settings.name)
            prepared = await asyncio.to_thread(prepare_installed, self._settings, settings)
            for model in prepared:
                self._check_free(model.settings.name)
            for model in prepared:
                self.add(model)
        return [model.settings.name for model in prepared]

    def _check_free(self, name: str) -> None:
        if name in self._fleet.router.routes:
            raise Conflict(f"a model named {name!r} is served already", "name")

    def add(self, model: PreparedModel) -> None:
        """Serve a model, unloaded."""
        settings = model.settings
        launch = self._launch(model, smaller=False)
        files = files_bytes(model)
        kv_cache = launch.options.kv_cache_bytes if isinstance(launch.options, TextOptions) else 0
        known = self._measurements.recall(model.path, settings.device)
        served = Served(
            route=self._fleet.route(settings),
            path=model.path,
            launch=lambda smaller: self._launch(model, smaller),
            keep_alive=_lifetime(settings.keep_alive_seconds),
            task=task_of(model.engine).name,
            engine=model.engine,
            size_bytes=files,
            growth_bytes=settings.replicas * kv_cache,
            load_seconds=known.load_seconds if known else None,
        )
        resident = Resident(
            name=settings.name,
            device=settings.device,
            bytes=served.growth_bytes
            + (known.memory_bytes if known else expected_bytes(files, settings.replicas)),
            pinned=settings.pinned,
            keep_alive=served.keep_alive,
        )
        self._manager.add(served, self._spawners(model, launch), resident)

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
                soft_memory_bytes=round((model.settings.soft_memory_gib or 0) * GIB),
                tuned=model.tuned,
            )

            def spawn(listener: Listener) -> Supervisor:
                return Supervisor(options, self._socket_path, self._context, listener)

            return spawn

        return [spawner(number) for number in range(model.settings.replicas)]


def _lifetime(seconds: float | None) -> float | None:
    """A keep-alive as the policy takes it; None: for ever."""
    return None if seconds is None or seconds < 0 else seconds
