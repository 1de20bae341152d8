"""Weights as constants of 8 or 16 bits, in forms that OpenVINO multiplies without expanding them first."""

from typing import Any

import numpy as np

from host.convert.errors import DOWNLOAD_AGAIN, ConversionError
from host.convert.safetensors import Tensor

_LARGEST = 127
_SMALLEST_SCALE = np.finfo(np.float16).tiny


def quantize(values: Tensor) -> tuple[Tensor, Tensor]:
    """Round f32 [rows, columns] to i8 of the same shape, and f16 [rows, 1] to multiply each row by."""
    scales = np.maximum(np.abs(values).max(axis=1, keepdims=True) / _LARGEST, _SMALLEST_SCALE)
    scales = scales.astype(np.float16)
    numbers = np.rint(values / scales.astype(np.float32))
    return np.clip(numbers, -_LARGEST, _LARGEST).astype(np.int8), scales


def int8_constant(values: Tensor, name: str) -> Any:
    """A node of f32 [rows, columns], as NNCF compresses weights. Raises ConversionError."""
    import openvino.opset15 as ops

    _to_float16(values, name)
    numbers, scales = quantize(values)
    whole = ops.convert(ops.constant(numbers, name=name), "f16")
    scaled = ops.multiply(whole, ops.constant(scales, name=f"{name}/scale"))
    return ops.convert(scaled, "f32")


def float16_constant(values: Tensor, name: str) -> Any:
    """A node of f32 with the same shape as the values. Raises ConversionError."""
    import openvino.opset15 as ops

    return ops.convert(ops.constant(_to_float16(values, name), name=name), "f32")


def _to_float16(values: Tensor, name: str) -> Tensor:
    with np.errstate(over="ignore"):
        small = values.astype(np.float16)
    if not np.isfinite(small).all():
        raise ConversionError(
            f"the tensor {name} is damaged: a weight is infinite or no number", DOWNLOAD_AGAIN
        )
    return small
