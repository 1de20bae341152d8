"""How a model's settings become the launch of its replicas."""

import os
from collections.abc import Sequence

import msgspec

from frontend.config import ModelSettings, Settings, kv_cache_bytes
from frontend.machine.cgroups import cpu_quota
from frontend.models.options import REMOTE, generation_defaults_of, properties_of
from frontend.models.resolve import PreparedModel
from frontend.spool_folder import spool_folder
from ipc.messages import DraftModel, Launch, Options, PromptLookup, Speculation, TextOptions, task_of


def launch_of(
    prepared: PreparedModel, settings: Settings, available_memory: int, all_replicas: int
) -> Launch[Options]:
    """The launch message of each replica of one model, without the socket's address.

    `available_memory` is in bytes; `all_replicas` counts those of all models, which share it.
    """
    model = prepared.settings
    return Launch(
        frontend_pid=os.getpid(),
        endpoint="",
        model=model.name,
        path=str(prepared.path),
        engine=prepared.engine,
        device=model.device,
        properties=properties_of(model),
        threads=model.threads or _threads_by_quota(model),
        cpus=[],
        load_seconds=settings.load_seconds,
        stall_seconds=settings.stall_seconds,
        faults=settings.faults,
        options=_options(prepared, settings, kv_cache_bytes(model, available_memory, all_replicas)),
    )


def _options(prepared: PreparedModel, settings: Settings, kv_cache: int) -> Options:
    """The task's options. Unless it needs more care, what has the name of a setting, or of something that the
    preparation found, has its value."""
    kind = task_of(prepared.engine).options
    if kind is TextOptions:
        return _text_options(prepared, kv_cache)
    known = msgspec.structs.asdict(prepared.settings) | msgspec.structs.asdict(prepared)
    if task_of(prepared.engine).uploads:
        known["spool_folder"] = str(spool_folder(settings.spool))
    if known["library"] == "auto":  # the default of the options
        del known["library"]
    return kind(**{name: known[name] for name in kind.__struct_fields__ if name in known})


def _text_options(prepared: PreparedModel, kv_cache: int) -> TextOptions:
    model = prepared.settings
    return TextOptions(
        kv_cache_bytes=kv_cache,
        context_length=model.context_length,
        max_num_seqs=1 if prepared.engine == "stateful" else model.max_num_seqs,
        max_num_batched_tokens=model.max_num_batched_tokens,
        prefix_caching=_prefix_caching(prepared),
        synthetic_tokens_per_second=prepared.synthetic_tokens_per_second,
        speculation=_speculation(prepared),
        adapter=prepared.adapter,
        cache_eviction_tokens=model.cache_eviction_tokens,
        generation_defaults=generation_defaults_of(model),
        chat_template=prepared.chat_template,
    )


def _prefix_caching(prepared: PreparedModel) -> bool:
    """Not where the host cannot keep the engine from spoiling its cache (see host/engines/prefill.py). With a
    draft model, sampled requests even fail where their prompt is found in it."""
    model = prepared.settings
    spoiled = prepared.draft_path or model.prompt_lookup or model.cache_eviction_tokens
    return model.prefix_caching and prepared.engine != "stateful" and not spoiled


def _speculation(prepared: PreparedModel) -> Speculation | None:
    model = prepared.settings
    if prepared.draft_path:
        return DraftModel(model.num_assistant_tokens, prepared.draft_path, model.draft_device or model.device)
    return PromptLookup(model.num_assistant_tokens, model.max_ngram_size) if model.prompt_lookup else None


def _threads_by_quota(model: ModelSettings) -> int:
    if not model.device.startswith("CPU") or "INFERENCE_NUM_THREADS" in model.properties:
        return 0
    return quota_threads(cpu_quota(), len(os.sched_getaffinity(0)))


def quota_threads(quota: float | None, usable: int) -> int:
    """How many threads a container's CPU quota pays for; 0 if it pays for all CPUs that the process may use.

    OpenVINO starts a thread for each of those, and the kernel then stops them all once the quota is used up.
    """
    return 0 if quota is None or quota >= usable else max(1, int(quota))


def total_replicas(prepared: Sequence[PreparedModel]) -> int:
    return sum(model.settings.replicas for model in prepared if model.engine != REMOTE)
