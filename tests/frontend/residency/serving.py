"""Models with real host processes behind the library of a server, without HTTP. Their engine is synthetic:
what is tested is when hosts come and go, not what they compute."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import zmq

from frontend.config import GIB, ModelSettings, Settings
from frontend.fleet import Fleet
from frontend.library import Library
from frontend.local_models import LocalModels
from frontend.models.resolve import PreparedModel
from frontend.observability.metrics import Metrics
from frontend.routing.router import Router, RouterOptions
from frontend.supervision.runtime_dir import RuntimeDir
from frontend.tasks.generation import Generation, generate
from frontend.tasks.text import SequenceSpec
from ipc.messages import Sampling, TextPrompt

PATIENCE = 60.0  # seconds, on a busy machine


def synthetic(name: str, rate: float = 0.0, **fields: object) -> PreparedModel:
    """A model of so many tokens per second (0: as fast as it can), expected to take 200 + 256 MiB."""
    settings = ModelSettings(name=name, source="synthetic", kv_cache_gib=0.25, **fields)  # type: ignore[arg-type]
    return PreparedModel(settings=settings, engine="synthetic", synthetic_tokens_per_second=rate)


class Serving:
    def __init__(self, settings: Settings, folder: Path, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self.metrics = Metrics()
        self.router = Router(RouterOptions(settings.arena_bytes, settings.request_timeout_seconds))
        self.fleet = Fleet(self.router, self.metrics, settings.max_queue)
        self.models = LocalModels(settings, self.fleet, folder.joinpath, context, 8 * GIB)

    @property
    def library(self) -> Library:
        return self.models.library

    def state(self, name: str) -> str:
        return self.library.status(name).state

    async def until(self, name: str, state: str) -> None:
        await wait_for(lambda: self.state(name) == state, f"{name} is {state}, not {self.state(name)}")

    async def begin(self, name: str, tokens: int = 4) -> Generation:
        return generate(await self.router.model(name), [spec(tokens)], streaming=False)

    async def ask(self, name: str, tokens: int = 4) -> int:
        """How many tokens one request got."""
        return await tokens_of(await self.begin(name, tokens))

    def loads(self, name: str, result: str = "loaded") -> float:
        labels = {"model": name, "result": result}
        return self.metrics.registry.get_sample_value("nacelle_model_loads_total", labels) or 0.0

    def unloads(self, name: str, reason: str) -> float:
        labels = {"model": name, "reason": reason}
        return self.metrics.registry.get_sample_value("nacelle_model_unloads_total", labels) or 0.0


def spec(tokens: int) -> SequenceSpec:
    return SequenceSpec(TextPrompt("hello"), Sampling(max_tokens=tokens))


async def tokens_of(generation: Generation) -> int:
    with contextlib.closing(generation):
        while await generation.outputs():
            pass
        return generation.usage.completion_tokens


async def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def _serving(settings: Settings, models: tuple[PreparedModel, ...]) -> AsyncIterator[Serving]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    folder = RuntimeDir(lambda: Path("/tmp"))
    serving = Serving(settings, folder.path, context)
    try:
        serving.models.start(models)
        yield serving
    finally:
        serving.models.close()
        left = await serving.fleet.stop(serving.fleet.supervisors, PATIENCE)
        folder.remove()
        context.destroy(linger=0)
    assert not left, "every host has left"


def run(scenario: Callable[[Serving], Awaitable[None]], settings: Settings, *models: PreparedModel) -> None:
    async def inside() -> None:
        async with _serving(settings, models) as serving:
            await asyncio.wait_for(scenario(serving), 2 * PATIENCE)

    asyncio.run(inside())
