"""What `nacelle tune` does: from settings to a plan, a tuning, a report, and what is kept."""

import asyncio
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import psutil

from bench.tuning.agreement import MIN_TEXT, MIN_VECTORS
from bench.tuning.candidates import TASKS, Machine, Subject, knobs_for
from bench.tuning.configuration import Configuration, Goal, settings_with, start_of
from bench.tuning.report import Report, changes, rows, settings_of
from bench.tuning.run import Plan, Tuner, Tuning, unit_of
from bench.tuning.search import Search
from frontend.config import ModelSettings, Settings
from frontend.machine.devices import ProbeFailed, ask_devices
from frontend.machine.hardware import cpu_facts, machine_name
from frontend.models.errors import ModelError
from frontend.models.manifest import Tuned
from frontend.models.placement import launch_of
from frontend.models.reporter import Reporter, Silent
from frontend.models.resolve import PreparedModel, Preparer, preparer_for
from frontend.models.root import store_root
from frontend.models.store import Store
from frontend.supervision.throwaway import HostFailed
from ipc.ir_facts import read_ir
from ipc.machine import DeviceFacts
from ipc.messages import Launch
from ipc.model_files import FileFault
from ipc.weights_group import WeightsGroup

_KV_CACHE_GIB = 1.0  # of a trial, whose requests are few and short
_ENGINE_TASKS = {"text": "text", "stateful": "text", "embeddings": "embeddings", "rerank": "rerank"}
_WEIGHT_FORMATS = (
    "Weight formats were not compared: int4 in groups of 128 is often faster than a GGUF file's groups of "
    "32. That needs the model's original weights and pip install 'nacelle-server[optimum]'."
)
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(ModelSettings)}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for."""

    goal: Goal = "mixed"
    minutes: float = 15.0
    concurrency: int = 8
    draft_model: str | None = None
    prompt_lookup: bool = False
    min_agreement: float | None = None


class Prepared(msgspec.Struct, frozen=True):
    """A model that is ready to be tuned, and what to try."""

    settings: Settings
    model: PreparedModel
    subject: Subject
    search: Search


def prepare(settings: Settings, request: Request, reporter: Reporter) -> Prepared:
    """Raises ModelError."""
    [wanted] = settings.models
    preparer = preparer_for(settings.store, reporter, tuned=False)
    model = preparer.prepare(wanted)
    task = _ENGINE_TASKS.get(model.engine, model.engine)
    if task not in TASKS:
        raise ModelError(f"{wanted.name} is a model for {task}; tune measures those for {', '.join(TASKS)}")
    _check_draft(request, preparer, wanted)
    subject = Subject(
        task=task,
        goal=request.goal,
        settings=model.settings,
        device=_device(wanted.device),
        weights_group=_weights_group(Path(model.path)),
        draft_model=request.draft_model,
        prompt_lookup=request.prompt_lookup,
    )
    knobs = knobs_for(subject, _machine())
    return Prepared(settings, model, subject, Search(tuple(knobs), start_of(model.settings, knobs)))


def _check_draft(request: Request, preparer: Preparer, wanted: ModelSettings) -> None:
    """Fetch and convert the draft model now, not in a trial. Raises ModelError."""
    if request.draft_model:
        preparer.prepare(msgspec.structs.replace(wanted, draft_model=request.draft_model))


def _device(name: str) -> DeviceFacts:
    try:
        devices = ask_devices().devices
    except ProbeFailed as failed:
        raise ModelError(f"OpenVINO could not list its devices: {failed}; see nacelle doctor") from failed
    for device in devices:
        if device.name == name or device.name.partition(".")[0] == name:
            return msgspec.structs.replace(device, name=name)
    found = ", ".join(device.name for device in devices) or "none"
    raise ModelError(f"there is no device {name} to tune for, only {found}; set --device to one of them")


def _machine() -> Machine:
    cpu = cpu_facts()
    return Machine(
        cores=cpu.usable_cores or cpu.cores, threads=cpu.usable, quota=cpu.quota, is_hybrid=cpu.is_hybrid
    )


def _weights_group(folder: Path) -> WeightsGroup:
    try:
        return read_ir(folder / "openvino_model.xml").weights_group
    except FileFault:
        return None


def planned(prepared: Prepared) -> list[str]:
    """What would be tried, one line for each setting."""
    start = prepared.search.start
    return [
        f"{knob.name}: {', '.join(_shown(value) for value in knob.values)} (now {_shown(start[knob.name])})"
        for knob in prepared.search.knobs
    ]


def _shown(value: object) -> str:
    return "default" if value is None else str(value)


def run(prepared: Prepared, request: Request, reporter: Reporter, tell: Callable[[str], None]) -> Tuning:
    """Measure. Raises ModelError if the model cannot be served as it is."""
    preparer = preparer_for(prepared.settings.store, reporter, tuned=False)
    plan = Plan(
        subject=prepared.subject,
        search=prepared.search,
        launch_of=lambda configuration: _launch(prepared, preparer, configuration),
        seconds=request.minutes * 60,
        concurrency=request.concurrency,
        min_agreement=required_agreement(request, prepared.subject.task),
    )
    try:
        return asyncio.run(Tuner(plan, tell, time.monotonic).run())
    except HostFailed as failed:
        raise ModelError(f"{prepared.model.settings.name} could not be measured: {failed}") from failed


def required_agreement(request: Request, task: str) -> float:
    """0, which permits every difference, is not the default."""
    if request.min_agreement is not None:
        return request.min_agreement
    return MIN_TEXT if task == "text" else MIN_VECTORS


def _launch(prepared: Prepared, preparer: Preparer, configuration: Configuration) -> Launch[Any]:
    settings = settings_with(prepared.model.settings, configuration)
    if prepared.subject.task == "text" and settings.kv_cache_gib is None:
        settings = msgspec.structs.replace(settings, kv_cache_gib=_KV_CACHE_GIB)
    model = msgspec.structs.replace(prepared.model, settings=settings)
    if settings.draft_model:
        draft = preparer.prepare(settings).draft_path
        model = msgspec.structs.replace(model, draft_path=draft)
    return launch_of(model, prepared.settings, psutil.virtual_memory().available, 1)


def report_of(prepared: Prepared, tuning: Tuning, *, kept: bool) -> Report:
    subject, search = prepared.subject, tuning.search
    notes = []
    if subject.task == "text" and find_spec("optimum") is None:
        notes.append(_WEIGHT_FORMATS)
    return Report(
        model=prepared.model.settings.name,
        device=subject.device.name,
        goal=subject.goal,
        unit=unit_of(subject),
        speed_before=tuning.speed_before,
        speed_after=tuning.speed_after,
        gain=tuning.gain,
        gain_range=(min(tuning.ratios), max(tuning.ratios)) if tuning.ratios else None,
        kept=kept,
        changes={change.name: change.value for change in changes(search.start, tuning.winner)},
        agreement_threshold=tuning.agreement_threshold,
        agreement_before=tuning.agreement_before,
        noise=tuning.noise,
        seconds=tuning.seconds,
        complete=tuning.complete,
        trials=rows(search),
        notes=notes,
    )


def keep(prepared: Prepared, tuning: Tuning) -> None:
    """Keep the winner, in place of what was kept before. Raises ModelError."""
    properties, settings = settings_of(tuning.winner, _DEFAULTS)
    tuned = Tuned(
        properties=properties,
        settings=settings,
        goal=prepared.subject.goal,
        gain=round(tuning.gain, 3),
        device=prepared.model.settings.device,
        machine=machine_name(),
    )
    _write(prepared.settings, prepared.model, tuned)


def is_tuned(prepared: Prepared) -> bool:
    """Whether something is kept for the model, from this or an earlier tuning."""
    store = Store(store_root(prepared.settings.store), Silent())
    return store.learned(Path(prepared.model.path)).tuned is not None


def reset(settings: Settings, reporter: Reporter) -> None:
    """Forget what was found. Raises ModelError."""
    [wanted] = settings.models
    preparer = preparer_for(settings.store, reporter, tuned=False)
    if not preparer.has(wanted.source):  # what was removed has taken its tuning along
        return
    model = preparer.prepare(wanted)
    _write(settings, model, None)


def _write(settings: Settings, model: PreparedModel, tuned: Tuned | None) -> None:
    root = store_root(settings.store)
    try:
        Store(root, Silent()).tune(Path(model.path), tuned)
    except OSError as error:
        raise ModelError(
            f"cannot write to the store {root}: {error.strerror or error}; choose another with --store"
        ) from error
