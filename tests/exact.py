"""Arithmetic whose results are the same on every CPU, and for one input alone and in any batch.

Left to itself, the engine multiplies in 16 bits on CPUs with AVX-512 BF16 or AMX, and quantizes activations
where the weights are compressed.
"""

from collections.abc import Mapping

F32 = {"INFERENCE_PRECISION_HINT": "f32"}
EXACT = F32 | {"KV_CACHE_PRECISION": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}


def as_options(properties: Mapping[str, str]) -> list[str]:
    """The options of `nacelle serve` that set them."""
    return [word for name, value in properties.items() for word in ("--property", f"{name}={value}")]
