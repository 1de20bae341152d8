"""Weights as constants of 8 bits that OpenVINO's plugins multiply without expanding them in memory."""

from typing import Any

import numpy as np

from host.convert.safetensors import Tensor

_LARGEST = 127


def quantize(values: Tensor) -> tuple[Tensor, Tensor]:
    """Round f32 [rows, columns] to i8 of the same shape, and f16 [rows, 1] to multiply each row by."""
    scales = np.abs(values).max(axis=1, keepdims=True) / _LARGEST
    scales = np.maximum(scales, np.finfo(np.float16).tiny).astype(np.float16)
    numbers = np.rint(values / scales.astype(np.float32))
    return np.clip(numbers, -_LARGEST, _LARGEST).astype(np.int8), scales


def int8_constant(values: Tensor, name: str) -> Any:
    """A node of f32 [rows, columns], in the form that NNCF gives to compressed weights."""
    import openvino.opset15 as ops

    numbers, scales = quantize(values)
    whole = ops.convert(ops.constant(numbers, name=name), "f16")
    scaled = ops.multiply(whole, ops.constant(scales, name=f"{name}/scale"))
    return ops.convert(scaled, "f32")


def float16_constant(values: Tensor, name: str) -> Any:
    """A node of f32 with the same shape as the values."""
    import openvino.opset15 as ops

    return ops.convert(ops.constant(values.astype(np.float16), name=name), "f32")
