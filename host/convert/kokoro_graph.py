"""Reads Kokoro's ONNX file as a graph of floats.

The usual small file holds weights of 8 bits, and quantizes activations while it runs, which OpenVINO computes
slowly. Converters of our own replace the operations that do so: the graph keeps the values of the weights,
and computes with activations as they are.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino.opset15 as ops
from openvino import Model
from openvino.frontend import FrontEndManager
from openvino.frontend.onnx import ConversionExtension

from host.convert.errors import ConversionError
from host.native_errors import summary

INPUTS = {"tokens": "input_ids", "input_ids": "input_ids", "style": "ref_s", "speed": "speed"}
WAVEFORM, DURATIONS = "waveform", "durations"

_FLOAT, _INT32, _INT64, _BOOL = 1, 6, 7, 9  # ONNX's numbers of element types
_ELEMENT_TYPES = {_FLOAT: "f32", _INT64: "i64", _BOOL: "boolean"}

Converted = list[Any]  # the outputs of a node


def read_graph(onnx: Path) -> Model:
    """The graph, from input_ids i64 [1, T], ref_s f32 [1, 256] and speed f32 [1] to waveform f32 [1, samples]
    and durations i64 [1, T], in frames. Raises ConversionError."""
    frontend = FrontEndManager().load_by_framework("onnx")
    for operation, convert in _CONVERTERS.items():
        frontend.add_extension(ConversionExtension(operation, convert))
    try:
        model = frontend.convert(frontend.load(str(onnx)))
    except Exception as error:  # the frontend has kinds of its own, and wraps those of the converters below
        raise ConversionError(f"{onnx.name} cannot be read ({summary(error)})") from error
    return _with_known_ports(model, onnx.name)


def _with_known_ports(model: Model, name: str) -> Model:
    found = {INPUTS.get(port.any_name, port.any_name): port for port in model.inputs}
    if found.keys() != set(INPUTS.values()) or len(model.outputs) != 1:
        raise ConversionError(f"{name} is not a Kokoro model: its inputs are {', '.join(found)}")
    for port_name, port in found.items():
        port.get_tensor().set_names({port_name})
        port.get_node().set_friendly_name(port_name)
    audio = model.outputs[0].get_node().input_value(0)
    waveform = ops.reshape(audio, np.array([1, -1]), special_zero=False)
    durations = _durations(model, name)
    waveform.output(0).set_names({WAVEFORM})
    durations.output(0).set_names({DURATIONS})
    parameters = [found[port].get_node() for port in ("input_ids", "ref_s", "speed")]
    return Model([ops.result(waveform), ops.result(durations)], parameters, "kokoro")


def _durations(model: Model, name: str) -> Any:
    """How many frames each token lasts: the only conversion of floats to whole numbers."""
    rounded = [
        node
        for node in model.get_ops()
        if node.get_type_name() == "Convert"
        and node.get_output_element_type(0).get_type_name() == "i64"
        and node.get_input_element_type(0).is_real()
    ]
    if len(rounded) != 1:
        raise ConversionError(f"{name} is not a Kokoro model: it predicts no durations")
    return ops.reshape(rounded[0].output(0), np.array([1, -1]), special_zero=False)


# --- operations that quantize -----------------------------------------------------------------------------


def _unquantized(node: Any) -> Converted:
    """Activations as they are: with a scale of 1 and a zero point of 0."""
    return [
        node.get_input(0),
        ops.constant(np.float32(1)).output(0),
        ops.constant(np.uint8(0)).output(0),
    ]


def _weights(node: Any, zero_point_shape: tuple[int, ...]) -> Any:
    """The whole numbers that the weights are, as floats; a multiplication that follows scales them."""
    values = [node.get_input(index).get_node() for index in (1, 3)]
    if any(value.get_type_name() != "Constant" for value in values):
        raise ConversionError("its quantized weights are not constants")
    weights, zero_point = (np.asarray(value.data, np.float32) for value in values)
    return ops.constant(weights - (zero_point.reshape(zero_point_shape) if zero_point.ndim else zero_point))


def _matmul(node: Any) -> Converted:
    return [ops.matmul(node.get_input(0), _weights(node, (-1,)), False, False).output(0)]


def _convolution(node: Any) -> Converted:
    if node.get_attribute("group") != 1 or node.get_attribute("auto_pad") != "NOTSET":
        raise ConversionError("it has a quantized convolution of an unknown kind")
    strides, pads = node.get_attribute("strides"), node.get_attribute("pads")
    sides = len(strides)
    weights = _weights(node, (-1, *[1] * (sides + 1)))
    dilations = node.get_attribute("dilations")
    before, after = pads[:sides], pads[sides:]
    return [ops.convolution(node.get_input(0), weights, strides, before, after, dilations).output(0)]


def _floor(node: Any) -> Converted:
    """Biases, which are constants divided by a scale, keep their fractions."""
    value = node.get_input(0)
    divided = value.get_node()
    if (
        divided.get_type_name() == "Divide"
        and divided.input_value(0).get_node().get_type_name() == "Constant"
    ):
        return [value]
    return [ops.floor(value).output(0)]


def _cast(node: Any) -> Converted:
    """Only biases are converted to int32: they stay floats."""
    to = node.get_attribute("to")
    if to == _INT32:
        return [node.get_input(0)]
    if to not in _ELEMENT_TYPES:
        raise ConversionError(f"it has a cast to the unknown element type {to}")
    return [ops.convert(node.get_input(0), _ELEMENT_TYPES[to]).output(0)]


_CONVERTERS: dict[str, Callable[[Any], Converted]] = {
    "DynamicQuantizeLinear": _unquantized,
    "MatMulInteger": _matmul,
    "ConvInteger": _convolution,
    "Floor": _floor,
    "Cast": _cast,
}
