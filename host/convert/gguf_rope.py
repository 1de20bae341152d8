"""Rotary frequencies of GGUF files: the angle by which each pair of dimensions turns per position.

The engine derives them from the base frequency alone: it ignores the factors of Llama 3.1 and linear scaling.
It also stores them in 16 bits, which is not exact enough beyond the first few thousand tokens.
"""

from typing import NamedTuple

import gguf
import numpy as np

from host.convert.errors import EXPORT, ConversionError
from host.convert.gguf import GgufMetadata, damaged
from host.convert.gguf_tensors import GgufTensor

_FACTORS = "rope_freqs.weight"
_OTHER_FACTORS = ("rope_factors_long.weight", "rope_factors_short.weight")
_DEFAULT_BASE = 10_000.0
_NONE, _LINEAR, _YARN = "none", "linear", "yarn"


class Rotation(NamedTuple):
    """Frequencies in radians per position, float64 [head / 2]."""

    plain: np.ndarray  # what the engine derives from the base
    right: np.ndarray  # what the model was trained with


def read_rotation(metadata: GgufMetadata, tensors: dict[str, GgufTensor], head: int) -> Rotation:
    """`head` is the number of dimensions of an attention head. Raises ConversionError."""
    rotated = metadata.values.get(_key(metadata, "dimension_count"), head)
    if rotated != head:
        raise ConversionError(f"it rotates {rotated} of {head} dimensions, which is not supported", EXPORT)
    base = _number(metadata, "freq_base", _DEFAULT_BASE)
    plain = base ** (-np.arange(0, head, 2) / head)
    return Rotation(plain, plain / _factors(metadata, tensors, head) / _linear_factor(metadata, tensors))


def context_length(metadata: GgufMetadata) -> int | None:
    """In tokens. YaRN is not applied, and without it a model is right in its original context only."""
    length = metadata.integer(f"{metadata.text('general.architecture')}.context_length")
    original = metadata.integer(_key(metadata, "scaling.original_context_length"))
    if length and original and metadata.text(_key(metadata, "scaling.type")) == _YARN:
        return min(length, original)
    return length


def rope_note(metadata: GgufMetadata) -> str:
    """One line for the user; empty if nothing is left out."""
    if metadata.text(_key(metadata, "scaling.type")) != _YARN:
        return ""
    return f"Its YaRN scaling is not applied: the context is {context_length(metadata)} tokens."


def _key(metadata: GgufMetadata, name: str) -> str:
    return f"{metadata.text('general.architecture')}.rope.{name}"


def _number(metadata: GgufMetadata, name: str, default: float) -> float:
    value = metadata.values.get(_key(metadata, name), default)
    if not isinstance(value, float) or not 0 < value < float("inf"):
        raise damaged(f"{_key(metadata, name)} is no valid number")
    return value


def _factors(metadata: GgufMetadata, tensors: dict[str, GgufTensor], head: int) -> np.ndarray:
    """By which each frequency is divided, or 1."""
    tensor = tensors.get(_FACTORS)
    if tensor is None:
        return np.ones(1)
    if tensor.shape != (head // 2,) or tensor.kind is not gguf.GGMLQuantizationType.F32:
        raise damaged(f"the tensor {_FACTORS} is not {head // 2} numbers of type F32")
    factors = np.frombuffer(metadata.data, "<f4", head // 2, tensor.offset).astype(np.float64)
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise damaged(f"the tensor {_FACTORS} holds numbers that are no factors")
    return factors


def _linear_factor(metadata: GgufMetadata, tensors: dict[str, GgufTensor]) -> float:
    """By which all frequencies are divided. Raises ConversionError for scaling that cannot be left out."""
    kind = metadata.values.get(_key(metadata, "scaling.type"), _LINEAR)
    trained_with_yarn = kind == _YARN and metadata.values.get(_key(metadata, "scaling.finetuned"))
    if kind not in (_NONE, _LINEAR, _YARN) or trained_with_yarn or tensors.keys() & {*_OTHER_FACTORS}:
        name = "longrope" if kind == _LINEAR else str(kind)[:24]
        raise ConversionError(f"its position scaling {name!r} is not supported in GGUF files", EXPORT)
    if kind != _LINEAR:
        return 1.0
    _check_attention_factor(metadata)
    return _number(metadata, "scaling.factor", _number(metadata, "scale_linear", 1.0))


def _check_attention_factor(metadata: GgufMetadata) -> None:
    if _number(metadata, "scaling.attn_factor", 1.0) != 1.0:
        raise ConversionError(f"{_key(metadata, 'scaling.attn_factor')} is not supported", EXPORT)
