"""The whole application on a real socket, over one model whose host is a stand-in: it records the work and
answers as told.

It says nothing about engines or processes; the end-to-end tests do that.
"""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import openai

from frontend.api.application import build
from frontend.api.memory import Memory
from frontend.config import ModelSettings, Settings
from frontend.http.server import HttpServer, listen
from frontend.observability.metrics import Metrics
from frontend.routing.route import LocalRoute
from frontend.routing.router import Router, RouterOptions
from frontend.spool import Spool
from frontend.supervision.death import Death
from frontend.supervision.lifecycle import Lifecycle, State
from ipc.arena import Lease
from ipc.messages import ModelCard, Ready, ToFrontend, ToHost, TranscriptionCard, Work


def transcription_card(languages: Sequence[str] = ("en", "de"), *, translates: bool = True) -> ModelCard:
    return TranscriptionCard(
        device_name="CPU",
        slots=4,
        context_length=448,
        load_seconds=1.0,
        fingerprint="",
        properties={},
        languages=list(languages),
        translates=translates,
    )


class StandIn:
    """A host that answers each work message with what `reply` makes of it."""

    number = 0
    device = "CPU"
    takes_jobs = True
    pid = None
    restarts = leased_bytes = resident_bytes = 0
    life = Lifecycle(State.READY)
    ready = True

    def __init__(self, card: ModelCard) -> None:
        self.card: ModelCard | None = card
        self.sent: list[Any] = []
        self.reply: Callable[[Any], Sequence[ToFrontend]] = lambda work: []
        self.say: Callable[[Sequence[ToFrontend]], None] = lambda messages: None

    def send(self, message: ToHost) -> None:
        self.sent.append(message)
        answers = self.reply(message) if isinstance(message, Work) else []
        if answers:
            asyncio.get_running_loop().call_soon(self.say, answers)

    def lease(self, body: bytes | Spool) -> Lease | None:
        """It reads what is large without shared memory."""
        assert isinstance(body, bytes), "nothing that large is uploaded here"
        return body  # type: ignore[return-value]

    def upload(self, work: Work, spool: Spool, is_wanted: Callable[[], bool]) -> None:
        raise AssertionError("nothing that large is uploaded here")

    def completed(self) -> None:
        pass


class TranscriptionServer:
    def __init__(self, card: ModelCard, settings: Settings) -> None:
        self.metrics = Metrics()
        self.host = StandIn(card)
        self.route = LocalRoute(
            ModelSettings(name="m", source="m"),
            settings.max_queue,
            self.metrics.of_model("m"),
            time.monotonic,
            asyncio.get_running_loop().call_later,
        )
        self.replica = self.route.add(self.host)
        self.host.say = lambda messages: self.route.take(self.replica, messages)
        self.host.say([Ready(card)])
        self.router = Router(RouterOptions(settings.arena_bytes, settings.request_timeout_seconds))
        self.router.add(self.route)
        self.memory = Memory(settings, self.router)
        app = build(settings, self.router, self.metrics, self.memory)
        self.listener = listen("127.0.0.1", 0)
        self.http = HttpServer(app, graceful_seconds=1)
        self.base_url = f"http://127.0.0.1:{self.listener.getsockname()[1]}/v1"
        # Certificates, which nothing here needs, take a tenth of a second to load.
        self.raw = httpx.AsyncClient(base_url=self.base_url, verify=False, timeout=30.0)
        self._api_key = settings.api_key or "unused"

    @cached_property
    def client(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=self._api_key, max_retries=0)

    def audio_seconds(self) -> float:
        """Transcribed so far."""
        found = self.metrics.registry.get_sample_value("nacelle_audio_seconds_total", {"model": "m"})
        return found or 0.0

    @staticmethod
    def uploads() -> int:
        """Temporary files that are open."""
        links = (str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())
        return sum(link.startswith(tempfile.gettempdir()) and link.endswith("(deleted)") for link in links)

    def die(self) -> None:
        """The host is gone, and another one is ready at once."""
        death = Death(
            model="m",
            replica=0,
            device="CPU",
            pid=1,
            phase="step",
            signal=9,
            stalled=False,
            starved=False,
        )
        self.route.died(self.replica, death)
        self.route.changed()


@contextlib.asynccontextmanager
async def _serving(card: ModelCard, settings: Settings) -> AsyncIterator[TranscriptionServer]:
    server = TranscriptionServer(card, settings)
    serving = asyncio.create_task(server.http.serve([server.listener]))
    try:
        yield server
    finally:
        await server.raw.aclose()
        if "client" in vars(server):
            await server.client.close()
        while server.http.server_state.tasks:
            await asyncio.sleep(0)
        serving.cancel()  # an orderly end takes uvicorn a quarter of a second
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        for sockets in server.http.servers:
            sockets.close()
        server.listener.close()
        await server.memory.background.close(0)
        await server.memory.close()


def run(
    scenario: Callable[[TranscriptionServer], Awaitable[None]],
    card: ModelCard | None = None,
    settings: Settings | None = None,
) -> None:
    async def inside() -> None:
        async with _serving(card or transcription_card(), settings or Settings()) as server:
            await scenario(server)

    asyncio.run(inside())
