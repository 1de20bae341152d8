"""Which settings are worth trying for a model on a device. Pure."""

from collections.abc import Iterator

import msgspec

from bench.tuning import configuration as names
from bench.tuning.configuration import Goal, Knob, Value
from frontend.config import ModelSettings
from ipc.machine import DeviceFacts
from ipc.weights_group import PER_CHANNEL, WeightsGroup

TASKS = ("text", "embeddings", "rerank")  # those that can be measured
_GROUPS = (128, 64, 32, 256, 0)  # 0: activations are not quantized
_STEP_TOKENS = (128, 256, 512, 1024)  # more of them make cancellation and other requests wait
_PASS_TOKENS = (512, 1024, 2048)
_FIRST = (names.THREADS, names.STREAMS, names.GROUP)  # may double the speed; others gain some percent
_ASSISTANT_TOKENS = (4, 3, 6)


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What decides on the values for a CPU."""

    cores: int  # that this process may use; threads of one core count once
    threads: int  # the same, each counted
    quota: float | None = None  # CPUs that the control group's quota is worth
    is_hybrid: bool = False  # it has performance and efficiency cores


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The model to tune. `settings` are those with which tuning starts."""

    task: str
    goal: Goal
    settings: ModelSettings
    device: DeviceFacts
    weights_group: WeightsGroup = None
    draft_model: str | None = None  # to be tried
    prompt_lookup: bool = False  # likewise


def knobs_for(subject: Subject, machine: Machine) -> list[Knob]:
    """In the order in which they are tried: what usually gains most comes first."""
    engine = list(_engine_knobs(subject, machine))
    first = [knob for knob in engine if knob.name in _FIRST]
    others = [knob for knob in engine if knob.name not in _FIRST]
    found = [*first, *_batch_knobs(subject), *others, *_speculation_knobs(subject)]
    return [knob for knob in found if len(knob.values) > 1 or knob.values[0] is not None]


def _engine_knobs(subject: Subject, machine: Machine) -> Iterator[Knob]:
    known = set(subject.device.properties)
    on_cpu = subject.device.name.startswith("CPU")
    knobs = [
        Knob(names.THREADS, _threads(machine)),
        Knob(names.GROUP, _groups(subject.weights_group), changes_results=True),
        Knob(names.CORES, (None, "PCORE_ONLY", "ANY_CORE") if machine.is_hybrid else (None,)),
        Knob(names.HYPER_THREADING, (None, "YES", "NO") if machine.threads > machine.cores else (None,)),
        Knob(names.PINNING, (None, "NO", "YES")),
        Knob(names.PRECISION, _precisions(subject.device), changes_results=True),
    ]
    if not on_cpu:
        knobs = [knob for knob in knobs if knob.name in (names.GROUP, names.PRECISION)]
    if subject.task == "text" and subject.settings.kv_cache_precision is None:
        knobs.insert(0, Knob(names.KV_PRECISION, (None, "u8", "f16", "bf16"), changes_results=True))
        known.add(names.KV_PRECISION)
    if subject.task != "text" and on_cpu:
        counts = [count for count in (1, 2, 4) if count <= max(2, machine.threads)]
        knobs.insert(1, Knob(names.STREAMS, (None, *map(str, counts))))
    return (knob for knob in knobs if knob.name in known)


def _threads(machine: Machine) -> tuple[Value, ...]:
    """The engine's default first, then as many as cores, CPUs, and what a quota pays for."""
    counts = [machine.cores, machine.threads]
    if machine.quota is not None:
        counts.insert(0, max(1, int(machine.quota)))
    if machine.cores > 3:
        counts.append(machine.cores // 2)
    return (None, *dict.fromkeys(str(count) for count in counts))


def _groups(weights_group: WeightsGroup) -> tuple[Value, ...]:
    """Without groups larger than the weights', which only slow the engine down."""
    largest = max(_GROUPS) if weights_group in (None, PER_CHANNEL) else int(weights_group)
    return (None, *(str(group) for group in _GROUPS if group <= largest))


def _precisions(device: DeviceFacts) -> tuple[Value, ...]:
    """Those that the device computes in."""
    offered = {"FP32": "f32", "BF16": "bf16", "FP16": "f16"}
    return (None, *(name for capability, name in offered.items() if capability in device.capabilities))


def _batch_knobs(subject: Subject) -> Iterator[Knob]:
    if subject.task != "text":
        yield Knob("max_batch_tokens", _PASS_TOKENS)
    elif subject.goal != "latency" and subject.settings.engine != "stateful":
        yield Knob("max_num_batched_tokens", _STEP_TOKENS)


def _speculation_knobs(subject: Subject) -> Iterator[Knob]:
    """Tried only if asked for: whether guessing pays depends on the texts, and it costs the prefix cache."""
    if subject.task != "text" or subject.settings.cache_eviction_tokens:
        return
    if subject.draft_model:
        yield Knob("draft_model", (None, subject.draft_model), changes_results=True)
    if subject.prompt_lookup:
        yield Knob("prompt_lookup", (False, True), changes_results=True)
    if subject.draft_model or subject.prompt_lookup:
        yield Knob("num_assistant_tokens", _ASSISTANT_TOKENS, changes_results=True)
