"""Replicas on other servers come and go with the settings of their model."""

import asyncio
from typing import Any

from frontend.config import ModelSettings, Settings
from frontend.fleet import Fleet
from frontend.observability.metrics import Metrics
from frontend.remote.remotes import Remotes
from frontend.remote.wire import encode
from frontend.routing.router import Router, RouterOptions
from ipc.messages import Ready
from tests.frontend.remote.servers import serving, until
from tests.frontend.remote.test_host import peer, stay
from tests.frontend.routing.hosts import CARD


async def talk(socket: Any) -> None:
    await socket.send_bytes(encode([Ready(CARD)]))
    await stay(socket)


def test_replicas_follow_the_settings_and_leave_with_their_model(monkeypatch):
    monkeypatch.setenv("KEY", "k")

    def settings(*urls: str) -> ModelSettings:
        return ModelSettings(name="m", source="remote", remote=list(urls), remote_api_key_env="KEY")

    async def scenario() -> None:
        router = Router(RouterOptions(1024**2, 5.0))
        remotes = Remotes(Settings(drain_seconds=1.0), Fleet(router, Metrics(), 10))
        async with serving(peer(talk)) as one, serving(peer(talk)) as two:

            def ready() -> list[tuple[int, str]]:
                return [(host.number, host.device) for host in router.route("m").hosts if host.ready]

            remotes.serve(settings(one))
            await until(lambda: ready() == [(0, one)])
            remotes.serve(settings(one, two))
            await until(lambda: ready() == [(0, one), (1, two)])
            remotes.serve(settings(two))
            await until(lambda: len(router.route("m").hosts) == 1)
            assert ready() == [(1, two)]
            assert router.route("m").settings.remote == [two]
            [host] = remotes.hosts
            router.remove("m")
            await until(host.stopped.is_set)
            assert remotes.hosts == []

    asyncio.run(scenario())
