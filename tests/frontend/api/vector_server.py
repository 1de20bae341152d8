"""The whole application over one model whose host is a stand-in: it records the work and answers as told.

It says nothing about engines or processes; the end-to-end tests do that.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx

from frontend.api.application import build
from frontend.api.memory import Memory
from frontend.batches.service import Batches
from frontend.config import ModelSettings, Settings
from frontend.observability.metrics import Metrics
from frontend.routing.job import Body
from frontend.routing.route import LocalRoute
from frontend.routing.router import Router, RouterOptions
from frontend.spool import Spool
from frontend.supervision.lifecycle import Lifecycle, State
from ipc.arena import Lease
from ipc.messages import Embed, ModelCard, Ready, Rerank, ToFrontend, ToHost, VectorCard, Work

PROMPTS = {"query": "query: ", "passage": "passage: "}


def vector_card(dimensions: int, prompts: dict[str, str] | None = None) -> VectorCard:
    """Of an embedding model; of a reranker where `dimensions` is 0."""
    return VectorCard(
        device_name="CPU",
        slots=100,
        context_length=512,
        load_seconds=1.0,
        fingerprint="",
        properties={},
        dimensions=dimensions,
        prompts=PROMPTS if prompts is None else prompts,
    )


class StandIn:
    """A host that answers each work message with what `reply` makes of it, if anything."""

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
        self.reply: Callable[[Any], ToFrontend | None] = lambda work: None
        self.say: Callable[[ToFrontend], None] = lambda message: None

    def send(self, message: ToHost) -> None:
        self.sent.append(message)
        answer = self.reply(message) if isinstance(message, Embed | Rerank) else None
        if answer is not None:
            asyncio.get_running_loop().call_soon(self.say, answer)

    def lease(self, body: Body) -> Lease | None:
        raise AssertionError("nothing that large is sent here")

    def upload(self, work: Work, spool: Spool, is_wanted: Callable[[], bool]) -> None:
        raise AssertionError("nothing is uploaded here")

    def completed(self) -> None:
        pass


class VectorServer:
    def __init__(self, card: ModelCard, settings: Settings) -> None:
        metrics = Metrics()
        self.host = StandIn(card)
        self.route = LocalRoute(
            ModelSettings(name="m", source="m"),
            settings.max_queue,
            metrics.of_model("m"),
            time.monotonic,
            asyncio.get_running_loop().call_later,
        )
        replica = self.route.add(self.host)
        self.host.say = lambda message: self.route.take(replica, [message])
        self.host.say(Ready(card))
        self.router = Router(RouterOptions(settings.arena_bytes, settings.request_timeout_seconds))
        self.router.add(self.route)
        self.memory = Memory(settings, self.router)
        self.batches = Batches(settings, metrics)
        self.app = build(settings, self.router, metrics, self.memory, batches=self.batches)
        transport = httpx.ASGITransport(app=self.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async def post(self, path: str, **fields: Any) -> httpx.Response:
        return await self.http.post(path, json={"model": "m", **fields})

    async def refusal(self, path: str, **fields: Any) -> tuple[str | None, str]:
        """The field that a 400 names, and its message."""
        answer = await self.post(path, **fields)
        assert answer.status_code == 400, answer.text
        error = answer.json()["error"]
        assert error["type"] == "invalid_request_error"
        return error["param"], error["message"]


@contextlib.asynccontextmanager
async def _serving(card: ModelCard, settings: Settings) -> AsyncIterator[VectorServer]:
    server = VectorServer(card, settings)
    async with server.http:
        yield server
    await server.batches.stop()
    server.batches.close()
    await server.memory.background.close(0)
    await server.memory.close()


def run(
    scenario: Callable[[VectorServer], Awaitable[None]], card: ModelCard, settings: Settings | None = None
) -> None:
    async def inside() -> None:
        async with _serving(card, settings or Settings()) as server:
            await scenario(server)

    asyncio.run(inside())
