"""The dynamic quantization group: read from IRs that OpenVINO writes, and only where it was measured."""

from pathlib import Path
from typing import Any

import numpy
import openvino
import pytest
from openvino import opset15 as ops

from host.engines.quantization import (
    AUTO,
    PROPERTY,
    chosen_properties,
    cpu_flags,
    is_measured,
    matching_group,
    without_auto,
)
from tests.host.harness import launch_of

VNNI = ["fpu", "avx2", "avx512f", "avx512_vnni"]


def compressed(shape: list[int], kind: Any) -> Any:
    """The node of a compressed weight, with its scales, as converters write it."""
    values = ops.constant(openvino.Tensor(kind, shape))
    scales = ops.constant(numpy.ones([*shape[:-1], 1], numpy.float16))
    whole = ops.multiply(ops.convert(values, openvino.Type.f16), scales)
    rows = shape[0]
    return ops.convert(ops.reshape(whole, ops.constant([rows, -1]), special_zero=False), openvino.Type.f32)


def ir(folder: Path, *weights: Any) -> Path:
    """An IR that multiplies its input by each weight."""
    hidden = ops.parameter([-1, 256], openvino.Type.f32)
    outputs = [ops.matmul(hidden, weight, transpose_a=False, transpose_b=True) for weight in weights]
    openvino.save_model(openvino.Model(outputs, [hidden]), folder / "openvino_model.xml", False)
    return folder / "openvino_model.xml"


@pytest.mark.parametrize(
    ("shape", "kind", "group"),
    [
        ([64, 2, 128], openvino.Type.u4, 128),
        ([64, 4, 64], openvino.Type.i4, 64),
        ([64, 8, 32], openvino.Type.u8, None),
        ([64, 256], openvino.Type.i8, 128),
    ],
)
def test_the_largest_group_that_divides_the_weights_own(
    tmp_path: Path, shape: list[int], kind: Any, group: int | None
) -> None:
    assert matching_group(ir(tmp_path, compressed(shape, kind))) == group


def test_most_of_the_weights_decide(tmp_path: Path) -> None:
    body = [compressed([64, 2, 128], openvino.Type.u4) for _ in range(3)]
    head = compressed([100, 256], openvino.Type.u8)
    assert matching_group(ir(tmp_path, *body, head)) == 128


def test_weights_that_are_not_compressed_have_no_group(tmp_path: Path) -> None:
    assert matching_group(ir(tmp_path, ops.constant(numpy.ones([64, 256], numpy.float32)))) is None


def test_a_real_converted_gguf_keeps_the_default(smollm2_ir: Path) -> None:
    assert matching_group(smollm2_ir / "openvino_model.xml") is None  # groups of 32


def test_it_is_on_only_where_it_was_measured() -> None:
    assert is_measured(VNNI)
    assert not is_measured(["avx2"])
    assert not is_measured(["avx2", "avx_vnni"])
    assert not is_measured([*VNNI, "amx_int8"])


def test_the_flags_are_those_of_the_first_cpu(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor : 0\nflags\t\t: fpu avx2\nprocessor : 1\nflags\t\t: fpu\n")
    assert cpu_flags(file) == ["fpu", "avx2"]
    assert cpu_flags(tmp_path / "none") == []


def test_what_is_asked_for_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ir(tmp_path, compressed([64, 256], openvino.Type.i8))

    def chosen(device: str = "CPU", **properties: str) -> dict[str, str]:
        return chosen_properties(launch_of(tmp_path, device=device, properties=properties), tmp_path)

    for flags, matched in ((VNNI, {PROPERTY: "128"}), (["avx2"], {})):
        monkeypatch.setattr("host.engines.quantization.cpu_flags", lambda _, flags=flags: flags)
        assert chosen() == matched
        assert chosen(**{PROPERTY: "64"}) == {}
        assert chosen(**{PROPERTY: AUTO}) == {PROPERTY: "128"}
        assert chosen(device="GPU.0") == {}


def test_openvino_never_sees_auto() -> None:
    assert without_auto({PROPERTY: AUTO, "A": "auto"}) == {"A": "auto"}
    assert without_auto({PROPERTY: "32"}) == {PROPERTY: "32"}
