"""Servers of other kinds, on real sockets, in the event loop of a test."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiohttp import web

from frontend.config import ModelSettings
from frontend.observability.metrics import Metrics
from frontend.remote.backend import Backend
from frontend.remote.host import RemoteHost
from frontend.routing.route import LocalRoute
from frontend.routing.router import Router, RouterOptions

Handler = Callable[[web.Request], Any]


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The URL of a server that answers every request with what `handler` returns."""
    app = web.Application(client_max_size=1024**3)
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


class Told:
    """A listener that passes what remote replicas report to one route, as `Remotes` does for many."""

    def __init__(self) -> None:
        metrics = Metrics().of_model("m")
        loop = asyncio.get_running_loop()
        settings = ModelSettings(name="m", source="remote")
        self.route = LocalRoute(settings, 10, metrics, time.monotonic, loop.call_later)
        self.router = Router(RouterOptions(1024**2, 5.0))
        self.router.add(self.route)
        self.deaths: list[str] = []
        self.states: list[str] = []

    @property
    def hosts(self) -> list[RemoteHost]:
        return [host for host in self.route.hosts if isinstance(host, RemoteHost)]

    def add(self, url: str, model: str = "theirs", key: str | None = "k") -> RemoteHost:
        backend = Backend(f"{url}/v1", model, key)
        host = RemoteHost(backend, "m", len(self.route.replicas), 1024**2, 1.0, self)
        self.route.add(host)
        host.start()
        return host

    async def close(self) -> None:
        for host in self.hosts:
            host.stop()
        await asyncio.gather(*(host.stopped.wait() for host in self.hosts))
        await asyncio.sleep(0)

    def replica_changed(self, replica: Any) -> None:
        self.states.append(replica.life.state.value)
        self.route.changed()

    def replica_said(self, replica: Any, messages: Any) -> None:
        self.route.take(self.route.replicas[replica.number], messages)

    def replica_died(self, replica: Any, death: Any) -> bool:
        self.deaths.append(death.lost)
        return self.route.died(self.route.replicas[replica.number], death)

    def replica_rejected(self, replica: Any, request_id: int, error: Any, *, elsewhere: bool) -> None:
        raise AssertionError("nothing is rejected here")
