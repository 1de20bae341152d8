"""How a model's settings become the launch of its replicas."""

import os
from collections.abc import Sequence

from frontend.config import Settings, kv_cache_bytes
from frontend.models.resolve import PreparedModel
from ipc.messages import Launch


def launch_of(
    prepared: PreparedModel, settings: Settings, available_memory: int, all_replicas: int
) -> Launch:
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
        properties=dict(model.properties),
        threads=model.threads,
        cpus=[],
        kv_cache_bytes=kv_cache_bytes(model, available_memory, all_replicas),
        context_length=model.context_length,
        max_num_seqs=model.max_num_seqs,
        max_num_batched_tokens=model.max_num_batched_tokens,
        prefix_caching=model.prefix_caching,
        load_seconds=settings.load_seconds,
        stall_seconds=settings.stall_seconds,
        faults=settings.faults,
        synthetic_tokens_per_second=prepared.synthetic_tokens_per_second,
    )


def total_replicas(prepared: Sequence[PreparedModel]) -> int:
    return sum(model.settings.replicas for model in prepared)
