"""One token from a throw-away host: a device that cannot compute crashes that host, and nothing else."""

import asyncio
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil
import zmq

from frontend.config import ModelSettings, Settings
from frontend.doctor.facts import SelfTest
from frontend.machine.devices import ProbeFailed, try_device
from frontend.models.errors import ModelError
from frontend.models.options import engine_kind
from frontend.models.placement import launch_of
from frontend.models.resolve import PreparedModel, check_ir_folder
from frontend.models.store import Store
from frontend.supervision.death import signal_name
from frontend.supervision.incarnation import ArenaSizes, Ending, Incarnation
from frontend.supervision.runtime_dir import RuntimeDir, base_folder
from ipc.messages import (
    Delta,
    Failed,
    Fatal,
    Generate,
    Launch,
    Ready,
    Sampling,
    TextInput,
    TextPrompt,
    ToFrontend,
)

SELF_TEST_SECONDS = 180.0  # a GPU or NPU compiles the model first
_END_SECONDS = 5.0
_ARENA = 2**20
_KV_CACHE_GIB = 0.25
_INPUT = msgspec.msgpack.encode(TextInput(TextPrompt("Once upon a time")))


class StoredText(msgspec.Struct, frozen=True):
    """A text model in the store."""

    name: str
    folder: Path


def smallest_text_model(store: Store) -> StoredText | None:
    """None if the store has no text model that could be loaded."""
    manifests = sorted(store.manifests(), key=lambda manifest: sum(manifest.files.values()))
    for manifest in manifests:
        folder = store.find(manifest.recipe)
        if folder is not None and _is_text(folder):
            return StoredText(manifest.recipe.name, folder)
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
    return asyncio.run(_one_token(_launch(device, model), model.name, seconds))


def _launch(device: str, model: StoredText) -> Launch[Any]:
    settings = ModelSettings(
        name="self-test", source=str(model.folder), device=device, kv_cache_gib=_KV_CACHE_GIB
    )
    prepared = PreparedModel(settings=settings, engine=engine_kind(settings), path=str(model.folder))
    return launch_of(prepared, Settings(), psutil.virtual_memory().available, 1)


class _Trial:
    """What a throw-away host has reported so far."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.ready = self.token = self.ended = False
        self.error = ""

    def messages(self, messages: Sequence[ToFrontend]) -> None:
        for message in messages:
            if isinstance(message, Ready):
                self.ready = True
            elif isinstance(message, Delta):
                self.token = True
            elif isinstance(message, Failed):
                self.error = self.error or message.error.message
            elif isinstance(message, Fatal):
                self.error = self.error or message.reason
        self.changed.set()

    def end(self, ending: Ending) -> None:
        self.ended = True
        self.error = self.error or ending.condemned or _last_words(ending)
        self.changed.set()

    @property
    def is_over(self) -> bool:
        return self.ended or bool(self.error)


def _last_words(ending: Ending) -> str:
    if ending.status < 0:
        return f"the process died of {signal_name(-ending.status)}"
    return ending.stderr_tail[-1] if ending.stderr_tail else f"the process ended with status {ending.status}"


async def _one_token(launch: Launch[Any], model: str, seconds: float) -> SelfTest:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    runtime_dir = RuntimeDir(lambda: base_folder(dict(os.environ)))
    trial = _Trial()
    started = time.monotonic()
    loaded = answered = 0.0
    try:
        host = Incarnation(
            launch,
            runtime_dir.socket_path("self-test"),
            ArenaSizes(_ARENA, _ARENA),
            context,
            trial.messages,
            trial.end,
        )
        try:
            async with asyncio.timeout(seconds):
                await _until(trial, "ready")
                loaded = time.monotonic() - started
                host.send(Generate(1, _INPUT, Sampling(max_tokens=1, temperature=0.0, ignore_eos=True)))
                await _until(trial, "token")
                answered = time.monotonic() - started - loaded
        except TimeoutError:
            trial.error = f"no token within {seconds:g} s"
        error = trial.error  # what its end adds is our doing
        await _end(host, trial)
    finally:
        context.destroy(linger=0)
        runtime_dir.remove()
    if error:
        return SelfTest(device=launch.device, model=model, error=error)
    return SelfTest(device=launch.device, model=model, load_seconds=loaded, token_seconds=answered)


async def _until(trial: _Trial, what: str) -> None:
    while not trial.is_over and not getattr(trial, what):
        trial.changed.clear()
        await trial.changed.wait()


async def _end(host: Incarnation, trial: _Trial) -> None:
    """Kill the host and wait until it is gone, at most for a while: a driver may hold it."""
    if not trial.ended:
        host.signal(signal.SIGKILL)
    try:
        async with asyncio.timeout(_END_SECONDS):
            await _until_ended(trial)
    except TimeoutError:
        return


async def _until_ended(trial: _Trial) -> None:
    while not trial.ended:
        trial.changed.clear()
        await trial.changed.wait()
