"""How much memory a model will take, from its files and settings alone. Nothing is loaded."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from frontend.config import GIB, ModelSettings
from frontend.models.folder import read_json
from frontend.models.inventory import Learned
from frontend.models.options import properties_of
from ipc.kv_cache import block_bytes, block_tokens, kv_shape_of, positive

PROCESS_BYTES = 200 * 1024**2  # a process with OpenVINO and no model
_WEIGHTS = {".bin", ".safetensors"}


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """In bytes, of one replica. The KV cache is that of `sequences` texts of `context_length` tokens."""

    weights_bytes: int
    kv_cache_bytes: int  # 0 for a task that has none
    process_bytes: int
    total_bytes: int
    kv_bytes_per_token: float | None
    context_length: int | None
    sequences: int
    device: str
    measured_bytes: int | None  # what the last load on this device took
    measured_seconds: float | None


def estimate_bytes(
    folder: Path, settings: ModelSettings, learned: Learned, *, sequences: int = 1, has_kv_cache: bool = True
) -> Estimate:
    """What one replica takes of the device's memory.

    `settings` may limit the context, and choose the size and precision of the KV cache. Raises OSError.
    """
    config = _config(folder)
    weights = sum(file.stat().st_size for file in folder.rglob("*") if file.suffix in _WEIGHTS)
    own = positive(config, "max_position_embeddings")
    context = min(filter(None, (settings.context_length, own)), default=None)
    device, properties = settings.device, properties_of(settings)
    shape = kv_shape_of(config) if has_kv_cache else None
    per_token = block_bytes(shape, device, properties) / block_tokens(device) if shape else None
    cache = round(per_token * context * sequences) if per_token and context else 0
    if settings.kv_cache_gib is not None and has_kv_cache:
        cache = round(settings.kv_cache_gib * GIB)
    measured = learned.measured.get(device)
    return Estimate(
        weights_bytes=weights,
        kv_cache_bytes=cache,
        process_bytes=PROCESS_BYTES,
        total_bytes=weights + cache + PROCESS_BYTES,
        kv_bytes_per_token=per_token,
        context_length=context,
        sequences=sequences,
        device=device,
        measured_bytes=measured.memory_bytes if measured else None,
        measured_seconds=measured.load_seconds if measured else None,
    )


def _config(folder: Path) -> Mapping[str, Any]:
    """The model's config.json; that of its language part where it has several."""
    try:
        config = read_json(folder / "config.json")
    except OSError:
        return {}
    if not isinstance(config, dict):
        return {}
    text = config.get("text_config")
    return config | text if isinstance(text, dict) else config
