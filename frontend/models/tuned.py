"""What `nacelle tune` found for a model on this machine, and how serving applies it.

Kept as tuned.json: in the model's folder if that belongs to the store, else in the store.
"""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from frontend.config import ConfigError, ModelSettings
from frontend.machine.hardware import cpu_facts
from frontend.models.options import check_options

_FILE = "tuned.json"
_THREADS = "INFERENCE_NUM_THREADS"
_KV_PRECISION = "KV_CACHE_PRECISION"
_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(ModelSettings)}


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that make the model faster here. They are weaker than any explicit setting."""

    properties: dict[str, str] = {}  # of OpenVINO
    settings: dict[str, Any] = {}  # name of a model setting → value
    goal: str = ""  # latency, throughput or prefill
    gain: float | None = None  # times as fast as before
    device: str = "CPU"
    machine: str = ""  # as `this_machine` describes it


def this_machine() -> str:
    """What tuning depends on: another CPU, or other limits of a container, need tuning again."""
    cpu = cpu_facts()
    quota = "" if cpu.quota is None else f", quota {cpu.quota:g}"
    return f"{cpu.name or 'unknown CPU'}, {cpu.usable} CPUs{quota}"


def read_tuned(root: Path, folder: Path) -> Tuned | None:
    """Of the model in an IR folder; `root` is the store's. None if it was not tuned."""
    try:
        return msgspec.json.decode(_place(root, folder).read_bytes(), type=Tuned)
    except (OSError, msgspec.MsgspecError):
        return None


def write_tuned(root: Path, folder: Path, tuned: Tuned | None) -> None:
    """Keep it, or with None forget it. Readers see the old or the new one. Raises OSError."""
    place = _place(root, folder)
    if tuned is None:
        place.unlink(missing_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=f".{_FILE}-", dir=place.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(tuned)))
            file.flush()
            os.fsync(file.fileno())
        Path(name).rename(place)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _place(root: Path, folder: Path) -> Path:
    folder = folder.resolve()
    if folder.is_relative_to(root.resolve()):
        return folder / _FILE
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]  # users' folders are not written to
    return root / "tuned" / f"{digest}.json"


def with_tuned(model: ModelSettings, tuned: Tuned) -> ModelSettings:
    """The settings of a model with what tuning found for those that are not set explicitly.

    What is set explicitly cannot be told from the default if it has the same value.
    """
    properties = {name: value for name, value in tuned.properties.items() if not _is_set(model, name)}
    settings = {
        name: value
        for name, value in tuned.settings.items()
        if name in _DEFAULTS and getattr(model, name) == _DEFAULTS[name]
    }
    whole = msgspec.structs.replace(model, properties={**properties, **model.properties})
    try:
        combined = msgspec.convert({**msgspec.to_builtins(whole), **settings}, ModelSettings)
        check_options(combined)
    except (ConfigError, msgspec.ValidationError):  # they exclude what is set explicitly
        return whole
    return combined


def _is_set(model: ModelSettings, name: str) -> bool:
    if name == _THREADS and model.threads:
        return True
    return name == _KV_PRECISION and model.kv_cache_precision is not None
