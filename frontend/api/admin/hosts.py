"""GET /admin/hosts and /admin/hosts/{model}/{replica}; POST …/kill and …/restart.

The names of models may contain slashes, so that what follows /admin/hosts/ is taken apart here.
"""

import asyncio
import contextlib

import falcon
import falcon.asgi
import msgspec

from frontend.api.area import App, Server
from frontend.api.generating import respond_json
from frontend.api.openapi.operation import CHANGES, describes
from frontend.errors import Conflict, MethodNotAllowed, NotFound
from frontend.http.exchange import exchange_of
from frontend.observability.incidents import Incidents
from frontend.routing.replica import Host
from frontend.routing.router import Router
from frontend.shortened import shortened
from frontend.supervision.lifecycle import State
from frontend.supervision.supervisor import Supervisor

KILL, RESTART = "kill", "restart"
_HOST = "/admin/hosts/{model:path}/{replica}"  # as clients see it
_SHOWN_CHARACTERS = 60
_GONE_SECONDS = 2.0  # that an answer waits for the end of a process that was killed


class LastIncident(msgspec.Struct, frozen=True):
    id: str
    at: float  # in Unix seconds
    cause: str
    summary: str


class HostStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One replica as operators see it. Sizes are in bytes."""

    model: str
    replica: int
    state: str
    device: str
    pid: int | None = None  # of a process on this machine
    memory_bytes: int = 0  # that is resident
    restarts: int = 0
    load_seconds: float | None = None  # the load took; None while none is loaded
    running: int = 0  # requests that it holds; choices of one request count each
    reason: str | None = None  # of the latest death
    last_incident: LastIncident | None = None


class HostList(msgspec.Struct):
    hosts: list[HostStatus]


class HostResources:
    """Every answer has the status of the host as it is then."""

    def __init__(self, router: Router, incidents: Incidents) -> None:
        self._router = router
        self._incidents = incidents

    @describes("The hosts and their state", answer=HostList)
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        respond_json(response, HostList(statuses(self._router, self._incidents)))

    @describes("One host", paths=(_HOST,), answer=HostStatus, errors=(404,))
    async def on_get_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, host: str
    ) -> None:
        model, found = self._host(host)
        respond_json(response, status_of(self._router, self._incidents, model, found))

    @describes(
        "Kill a host, or replace it once it has finished what it has",
        paths=(f"{_HOST}/{KILL}", f"{_HOST}/{RESTART}"),
        answer=HostStatus,
        status=202,
        errors=(*CHANGES, 405),
    )
    async def on_post_one(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, host: str
    ) -> None:
        """A kill is answered once the process is gone, both before another is ready: /admin/events tells
        what becomes of the host."""
        name, _, action = host.rpartition("/")
        if action not in (KILL, RESTART):
            raise MethodNotAllowed(f"POST /admin/hosts/MODEL/REPLICA/{KILL} or …/{RESTART}")
        exchange_of(request.scope).route = f"/admin/hosts/{{model}}/{{replica}}/{action}"
        model, found = self._host(name)
        if not isinstance(found, Supervisor):
            raise Conflict(f"{model}/{found.number} runs on another server, {found.device}")
        if found.pid is None:
            raise Conflict(f"{model}/{found.number} has no process now: it is {found.life.state}")
        if action == KILL:
            found.kill()
            with contextlib.suppress(
                TimeoutError
            ):  # the kernel may take longer, for example to dump its core
                async with asyncio.timeout(_GONE_SECONDS):
                    await found.gone()
        else:
            self._restart(model, found)
        respond_json(response, status_of(self._router, self._incidents, model, found))
        response.status = falcon.HTTP_202

    def _restart(self, model: str, host: Supervisor) -> None:
        if host.life.state is not State.READY:
            raise Conflict(f"{model}/{host.number} is {host.life.state}; only a ready host can be restarted")
        host.recycle()

    def _host(self, name: str) -> tuple[str, Host]:
        """The model and the host of `MODEL/REPLICA`. Raises ModelNotFound or NotFound."""
        wanted, _, number = name.rpartition("/")
        model = self._router.resolve(wanted or name, key="").model
        hosts = {str(host.number): host for host in self._router.routes[model].hosts}
        if number not in hosts:
            shown = shortened(number, _SHOWN_CHARACTERS)
            raise NotFound(f"{model} has no replica {shown!r}; it has {', '.join(hosts) or 'none'}")
        return model, hosts[number]


def statuses(router: Router, incidents: Incidents) -> list[HostStatus]:
    return [
        status_of(router, incidents, route.name, host)
        for route in router.visible_routes
        for host in route.hosts
    ]


def status_of(router: Router, incidents: Incidents, model: str, host: Host) -> HostStatus:
    last = incidents.last_of(model, host.number)
    return HostStatus(
        model=model,
        replica=host.number,
        state=host.life.state.value,
        device=host.device,
        pid=host.pid,
        memory_bytes=host.resident_bytes,
        restarts=host.restarts,
        load_seconds=host.card.load_seconds if host.card else None,
        running=_running(router, model, host),
        reason=host.life.reason,
        last_incident=LastIncident(last.id, last.at, last.cause, last.summary) if last else None,
    )


def _running(router: Router, model: str, host: Host) -> int:
    replicas = getattr(router.routes.get(model), "replicas", ())
    held = (replica.jobs.values() for replica in replicas if replica.host is host)
    return sum(not job.is_rehearsal for jobs in held for job in jobs)


def install(app: App, server: Server) -> None:
    resources = HostResources(server.router, server.control.incidents)
    app.add_route("/admin/hosts", resources)
    app.add_route("/admin/hosts/{host:path}", resources, suffix="one")
