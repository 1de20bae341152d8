"""When the dynamic quantization group is matched to the weights."""

from pathlib import Path
from typing import Any

import numpy
import openvino
import pytest
from openvino import opset15 as ops

from host.engines.quantization import AUTO, chosen_properties, without_auto
from host.weights_group import PROPERTY
from tests.host.harness import launch_of

VNNI = ["fpu", "avx2", "avx512f", "avx512_vnni"]


def compressed(shape: list[int], kind: Any) -> Any:
    """The node of a compressed weight, with its scales, as converters write it."""
    values = ops.constant(openvino.Tensor(kind, shape))
    scales = ops.constant(numpy.ones([*shape[:-1], 1], numpy.float16))
    return ops.convert(ops.multiply(ops.convert(values, openvino.Type.f16), scales), openvino.Type.f32)


def ir(folder: Path, weight: Any) -> None:
    """An IR that multiplies its input by the weight."""
    hidden = ops.parameter([-1, 256], openvino.Type.f32)
    product = ops.matmul(hidden, weight, transpose_a=False, transpose_b=True)
    openvino.save_model(openvino.Model([product], [hidden]), folder / "openvino_model.xml", False)


def test_what_is_asked_for_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ir(tmp_path, compressed([64, 256], openvino.Type.i8))

    def chosen(device: str = "CPU", **properties: str) -> dict[str, str]:
        return chosen_properties(launch_of(tmp_path, device=device, properties=properties), tmp_path)

    for flags, matched in ((VNNI, {PROPERTY: "128"}), (["avx2"], {})):
        monkeypatch.setattr("host.engines.quantization.read_cpu_flags", lambda flags=flags: flags)
        assert chosen() == matched
        assert chosen(**{PROPERTY: "64"}) == {}
        assert chosen(**{PROPERTY: AUTO}) == {PROPERTY: "128"}
        assert chosen(device="GPU.0") == {}


def test_openvino_never_sees_auto() -> None:
    assert without_auto({PROPERTY: AUTO, "A": "auto"}) == {"A": "auto"}
    assert without_auto({PROPERTY: "32"}) == {PROPERTY: "32"}
