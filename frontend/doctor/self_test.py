"""One token from a throw-away host: a device that cannot compute crashes that host, and nothing else."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import psutil

from frontend.config import ModelSettings, Settings
from frontend.doctor.facts import SelfTest
from frontend.machine.devices import ProbeFailed, try_device
from frontend.models.errors import ModelError
from frontend.models.options import engine_kind
from frontend.models.placement import launch_of
from frontend.models.resolve import PreparedModel, check_ir_folder
from frontend.models.store import Store
from frontend.supervision.throwaway import HostFailed, ThrowawayHost
from ipc.messages import Generate, Launch, Sampling, TextInput, TextPrompt

SELF_TEST_SECONDS = 180.0  # a GPU or NPU compiles the model first
_KV_CACHE_GIB = 0.25
_WORK = Generate(
    0,
    msgspec.msgpack.encode(TextInput(TextPrompt("Once upon a time"))),
    Sampling(max_tokens=1, temperature=0.0, ignore_eos=True),
)


class StoredText(msgspec.Struct, frozen=True):
    """A text model in the store."""

    name: str
    folder: Path


def smallest_text_model(store: Store) -> StoredText | None:
    """None if the store has no text model that could be loaded."""
    for model in sorted(store.installed(), key=lambda model: model.manifest.bytes):
        if _is_text(model.path):
            return StoredText(model.name, model.path)
    return None


def _is_text(folder: Path) -> bool:
    try:
        return check_ir_folder(folder).task == "text"
    except ModelError:
        return False


def self_test(device: str, model: StoredText | None, seconds: float = SELF_TEST_SECONDS) -> SelfTest:
    """One token of the model, or without one a small computation. Never raises for what the device does."""
    if model is None:
        try:
            return SelfTest(device=device, load_seconds=try_device(device, seconds).seconds)
        except ProbeFailed as failed:
            return SelfTest(device=device, error=str(failed))
    try:
        return asyncio.run(_one_token(_launch(device, model), model.name, seconds))
    except HostFailed as failed:
        return SelfTest(device=device, model=model.name, error=str(failed))


def _launch(device: str, model: StoredText) -> Launch[Any]:
    settings = ModelSettings(
        name="self-test", source=str(model.folder), device=device, kv_cache_gib=_KV_CACHE_GIB
    )
    prepared = PreparedModel(settings=settings, engine=engine_kind(settings), path=str(model.folder))
    return launch_of(prepared, Settings(), psutil.virtual_memory().available, 1)


async def _one_token(launch: Launch[Any], model: str, seconds: float) -> SelfTest:
    """Raises HostFailed."""
    started = time.monotonic()
    async with ThrowawayHost(launch, seconds) as host:
        loaded = time.monotonic() - started
        [answer] = await host.run([_WORK], 1, seconds)
        took = answer.first - answer.started
    return SelfTest(device=launch.device, model=model, load_seconds=loaded, token_seconds=took)
