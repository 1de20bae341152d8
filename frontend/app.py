"""The composition root: builds the parts of a server, runs them, and takes them down in order."""

import asyncio
import gc
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence

import msgspec
import uvloop
import zmq

from frontend.access.authentication import is_authenticated
from frontend.api.admin.hosts import status_of
from frontend.api.application import build
from frontend.api.area import Control
from frontend.api.compiling import stop_compiling
from frontend.api.memory import Memory
from frontend.batches.service import Batches
from frontend.config import ConfigError, Settings, check_bind
from frontend.downloads import Downloads
from frontend.fleet import Fleet
from frontend.homes import stop_all
from frontend.http.gate import Access
from frontend.http.server import HttpServer
from frontend.http.tls import Tls
from frontend.incident_log import IncidentLog
from frontend.listening import open_ports
from frontend.local_models import LocalModels
from frontend.models.inventory import Inventory
from frontend.models.options import REMOTE
from frontend.models.root import store_root
from frontend.observability import logs
from frontend.observability.incidents import INCIDENTS, Incidents
from frontend.observability.metrics import Metrics
from frontend.observability.traces import Tracing
from frontend.observability.tracing import open_tracing
from frontend.reload.configuration import Configuration
from frontend.reload.found_later import FoundLater
from frontend.reload.hangup import Hangups
from frontend.reload.reloader import Reloader
from frontend.remote.backend import key_in
from frontend.remote.registered import Registered
from frontend.remote.registry import Registry, http_fetch, kept_file
from frontend.remote.remotes import Remotes
from frontend.residency.limits import available_bytes
from frontend.residency.stored import StoredMeasurements
from frontend.routing.names import Names
from frontend.routing.router import Router, RouterOptions
from frontend.service_manager import ServiceManager, address_of, inherited
from frontend.supervision.lifecycle import State
from frontend.supervision.runtime_dir import RuntimeDir, base_folder
from frontend.supervision.supervisor import Supervisor
from ipc import huge_pages

_ANSWER_SECONDS = 2.0  # after the drain budget, to send errors to those who still wait
_BURIAL_SECONDS = 2.0  # from a host's SIGKILL until it is known to be gone
_HUGE_PAGES_SECONDS = 0.2  # its 20 MiB take some 30 ms
_OBJECTS_BETWEEN_COLLECTIONS = 10_000  # Python's 700 costs streams some 5 % of the frontend's CPU time
_SAME_SIGNAL_SECONDS = 0.25  # wrappers forward what the terminal also sent to us

log = logging.getLogger("nacelle")


def serve(configuration: Configuration, read_again: Callable[[], Configuration]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit status: 0 after a shutdown, 1 if it could not start.

    SIGHUP lets the server follow what `read_again` returns, which raises ConfigError or ModelError.
    """
    logs.configure(configuration.settings.log_format, configuration.settings.log_level)
    try:
        listeners = inherited(os.environ, os.getpid())
        configuration = _at(configuration, listeners)
        opened = {listener.getsockname()[1] for listener in listeners}
        listeners += open_ports(configuration.settings, opened)
    except ConfigError as error:
        log.error("%s", error)
        return 1
    settings = configuration.settings
    tracing = open_tracing(settings)
    service = ServiceManager(os.environ, os.getpid())
    runtime_dir = RuntimeDir(lambda: base_folder(dict(os.environ)))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    try:
        server = _Server(configuration, read_again, listeners, runtime_dir, context, service, tracing)
        return uvloop.run(server.run())
    finally:
        if tracing is not None:
            tracing.close()
        context.destroy(linger=0)
        runtime_dir.remove()
        for listener in listeners:
            listener.close()


def _at(configuration: Configuration, listeners: Sequence[socket.socket]) -> Configuration:
    """The configuration of a server whose sockets were opened for it. Raises ConfigError."""
    if not listeners:
        return configuration
    host, port = address_of(listeners)
    settings = msgspec.structs.replace(configuration.settings, host=host, port=port)
    check_bind(settings, is_authenticated=is_authenticated(settings))
    return msgspec.structs.replace(configuration, settings=settings)


class _Server:
    def __init__(
        self,
        configuration: Configuration,
        read_again: Callable[[], Configuration],
        listeners: Sequence[socket.socket],
        runtime_dir: RuntimeDir,
        context: "zmq.Context[zmq.Socket[bytes]]",
        service: ServiceManager,
        tracing: Tracing | None,
    ) -> None:
        settings = configuration.settings
        self._service = service
        self._settings = settings
        self._prepared = configuration.prepared
        self._listeners = listeners
        self._runtime_dir = runtime_dir
        self._stop = asyncio.Event()
        self._stopped_at: float | None = None
        self._stopped_by = signal.SIGTERM
        self._cannot_start = False
        self._was_ready = False  # any model, once
        self._metrics = Metrics()
        self._router = Router(RouterOptions(settings.arena_bytes, settings.request_timeout_seconds))
        self._fleet = Fleet(self._router, self._metrics, settings.max_queue)
        self._fleet.on_change.append(self._replica_changed)
        measurements = StoredMeasurements(Inventory(store_root(settings.store)))
        self._models = LocalModels(
            settings, self._fleet, runtime_dir.socket_path, context, available_bytes(), measurements
        )
        self._remotes = Remotes(settings, self._fleet)
        self._memory = Memory(settings, self._router)
        self._found_later = self._named(settings)
        self._access = Access(settings)
        self._tls = Tls(settings)
        self._reloader = Reloader(
            read_again, configuration, self._models, self._remotes, self._router, self._follow
        )
        self._control = self._controlled(settings, tracing)
        self._downloads = Downloads(
            settings.store, self._models.library.add, max_running=settings.max_downloads
        )
        self._batches = Batches(settings, self._metrics)
        self._batches.caller_of = self._access.renewed
        self._http = self._http_server(settings)

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up, Hangups())
        registry = self._registry()
        huge_pages.collapse(_HUGE_PAGES_SECONDS)
        self._models.start([model for model in self._prepared if model.engine != REMOTE])
        for model in self._prepared:
            self._remotes.serve(model.settings)
        polling = asyncio.create_task(registry.run()) if registry is not None else None
        http = asyncio.create_task(self._http.serve(sockets=list(self._listeners)))
        for listener in self._listeners:
            host, port = listener.getsockname()[:2]
            scheme = "http" if self._tls.context is None else "https"
            log.info("listening on %s://%s:%d", scheme, f"[{host}]" if ":" in host else host, port)
        self._batches.start()
        self._service.ready()
        gc.freeze()  # what was built so far stays; do not look through it again
        gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
        await self._stop.wait()
        self._service.stopping()
        if polling is not None:
            polling.cancel()
        await self._drain(http)
        self._service.close()
        return 1 if self._cannot_start else 0

    def _named(self, settings: Settings) -> FoundLater:
        """The names of models: aliases, and what finds models that were stored after the start."""
        library = self._models.library
        library.aliases_of = lambda name: self._router.names.aliases_of(name)
        self._router.names = Names.of(settings)
        found_later = FoundLater(settings, library)
        self._router.find_missing = found_later.find
        return found_later

    def _http_server(self, settings: Settings) -> HttpServer:
        app = build(
            settings,
            self._router,
            self._metrics,
            self._memory,
            self._models.library,
            self._control,
            self._downloads,
            self._batches,
        )
        return HttpServer(app, settings.drain_seconds + _ANSWER_SECONDS, self._tls.context)

    def _controlled(self, settings: Settings, tracing: Tracing | None) -> Control:
        """What administrators see and change of this server."""
        incidents = Incidents(store_root(settings.store) / INCIDENTS)
        control = Control(self._access, incidents)
        control.tracing = tracing
        control.reload = self._reloader.reload
        control.follow_store = self._found_later.follow

        def host_changed(host: Supervisor) -> None:
            control.notices.publish("host", lambda: status_of(self._router, incidents, host.model, host))

        self._fleet.on_change.append(host_changed)
        self._fleet.on_settled.append(IncidentLog(incidents).settled)
        incidents.on_new.append(lambda incident: control.notices.publish("incident", lambda: incident))
        return control

    def _follow(self, settings: Settings) -> None:
        """Apply the settings that can change while the server runs."""
        logs.configure(self._settings.log_format, settings.log_level)
        self._access.follow(settings)
        self._tls.follow(self._settings)
        self._found_later.settings = settings
        self._router.options = RouterOptions(self._settings.arena_bytes, settings.request_timeout_seconds)
        self._router.quotas.follow(settings)
        self._fleet.limit_queues(settings.max_queue)
        self._models.limit(settings)

    def _registry(self) -> Registry | None:
        settings, url = self._settings, self._settings.registry_url
        if url is None:
            return None
        serving = Registered(settings, self._router, self._models, self._models.library, self._remotes)
        key = key_in(settings.registry_api_key_env, "registry_api_key_env")
        kept = kept_file(store_root(settings.store), url)
        return Registry(url, settings.registry_seconds, http_fetch(url, key), serving, kept, self._metrics)

    def _hung_up(self, hangups: Hangups) -> None:
        if hangups.means_the_end():
            self._signalled(signal.SIGHUP)
        else:
            self._service.reloading()
            self._reloader.signalled().add_done_callback(lambda _: self._service.ready())

    def _signalled(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if self._stopped_at is None:
            self._stopped_at, self._stopped_by = now, number
        elif now - self._stopped_at > _SAME_SIGNAL_SECONDS:
            log.warning("told again to stop: stopping now")
            self._runtime_dir.remove()
            os._exit(128 + number)  # the hosts die with us
        self._stop.set()

    def _replica_changed(self, replica: Supervisor) -> None:
        """A server none of whose models ever loads must not linger."""
        if replica.life.state is State.READY:
            self._was_ready = True
        if replica.life.state is not State.FAILED or self._cannot_start or not self._models.persists(replica):
            return
        if self._remotes.hosts or self._settings.registry_url:  # another server may come up at any time
            log.error("%s/%d failed: %s", replica.model, replica.number, replica.life.reason)
            return
        lives = [supervisor.life for supervisor in self._fleet.supervisors]
        if replica.life.was_ready:
            log.error("%s/%d failed: %s", replica.model, replica.number, replica.life.reason)
        elif self._was_ready or any(life.state is not State.FAILED for life in lives):
            siblings = (other for other in self._fleet.supervisors if other.model == replica.model)
            if all(sibling.life.state is State.FAILED for sibling in siblings):  # one line, not one for each
                log.error("a model could not be loaded: %s", replica.life.reason)
        else:
            log.error("no model could be loaded: %s", replica.life.reason)
            self._cannot_start = True
            self._stop.set()

    def _awaited(self) -> str:
        """What a shutdown waits for."""
        requests = len(self._http.server_state.tasks)
        background = self._memory.background.running
        parts = [(requests, "request"), (background, "background response")]
        awaited = [f"{count} {what}{'s' * (count > 1)}" for count, what in parts if count]
        return " and ".join(awaited) or "connections to close"

    def _announce_wait(self) -> None:
        again = "Ctrl-C" if self._stopped_by is signal.SIGINT else self._stopped_by.name
        log.info(
            "waiting at most %g s for %s; another %s stops now",
            self._settings.drain_seconds,
            self._awaited(),
            again,
        )

    async def _drain(self, http: "asyncio.Task[None]") -> None:
        """Finish what runs within the drain budget, answer the rest, then stop the hosts."""
        if not self._cannot_start:  # else the last line says why
            log.info("shutting down")
        self._control.stopping.set()
        downloads = asyncio.create_task(self._downloads.close())  # whoever follows one need not be waited for
        self._reloader.close()
        await self._batches.stop()  # the next server continues them
        seconds = await self._router.drain(self._settings.drain_seconds)
        self._http.stop()
        drained = asyncio.gather(http, self._memory.background.close(seconds))
        rest = max(0.0, seconds - _SAME_SIGNAL_SECONDS)
        await asyncio.wait([drained], timeout=seconds - rest)
        if rest and not drained.done():  # from now on a second signal counts as one
            self._announce_wait()
            await asyncio.wait([drained], timeout=rest)
        if not drained.done():
            log.warning("ending what did not finish in time: %s", self._awaited())
            self._router.fail_all()
            await drained
        await downloads
        stop_compiling()
        self._batches.close()
        await self._memory.close()
        self._models.close()
        budget = self._settings.drain_seconds + self._settings.term_seconds + _BURIAL_SECONDS
        _, left = await asyncio.gather(
            stop_all(self._remotes.hosts, self._settings.drain_seconds + _BURIAL_SECONDS),
            self._fleet.stop(self._fleet.supervisors, budget),
        )
        if left:
            log.warning("%d hosts are still there after SIGKILL; leaving without them", left)
