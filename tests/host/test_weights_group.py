"""The group size of an IR's weights, found in graphs as Optimum and GGUF conversions write them."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino.opset15 as ops
import pytest

from host.weights_group import is_measured, matching_group, read_cpu_flags, read_weights_group
from ipc.weights_group import WeightsGroup

WIDTH = 256  # of every product's input
VNNI = ["fma", "avx2", "avx512f", "avx512_vnni"]


def weights(kind: str, outputs: int, group: int | None) -> Any:
    """Decompressed weights, f32 [outputs, WIDTH], with zero points; one group per channel without `group`."""
    shape = [outputs, WIDTH] if group is None else [outputs, WIDTH // group, group]
    beside = [*shape[:-1], 1]
    values = ops.convert(ops.constant(np.ones(shape, np.int8), getattr(ov.Type, kind)), "f16")
    zero = ops.convert(ops.constant(np.ones(beside, np.int8), getattr(ov.Type, kind)), "f16")
    scaled = ops.multiply(ops.subtract(values, zero), ops.constant(np.ones(beside, np.float16)))
    if group is not None:
        scaled = ops.reshape(scaled, np.array([outputs, WIDTH]), special_zero=False)
    return ops.convert(scaled, "f32")


def plain(outputs: int) -> Any:
    return ops.constant(np.ones((outputs, WIDTH), np.float32))


def ir(folder: Path, *products: Any, embedding: Any = None) -> Path:
    """An IR that multiplies its input, or rows of an embedding, with each of the weights."""
    if embedding is None:
        source = ops.parameter([-1, WIDTH], np.float32)
        rows: Any = source
    else:
        source = ops.parameter([-1], np.int64)
        rows = ops.gather(embedding, source, np.int64(0))
    results = [ops.result(ops.matmul(rows, weight, False, True)) for weight in products]
    ov.save_model(ov.Model(results, [source], "m"), folder / "m.xml", compress_to_fp16=False)
    return folder / "m.xml"


@pytest.mark.parametrize(
    ("kind", "group", "expected"),
    [
        ("u4", 128, 128),
        ("i4", 64, 64),
        ("u8", 32, 32),
        ("u4", 32, 32),
        ("u8", None, "per channel"),
        ("i8", None, "per channel"),
    ],
)
def test_weights_of_one_kind(tmp_path: Path, kind: str, group: int | None, expected: WeightsGroup) -> None:
    assert read_weights_group(ir(tmp_path, weights(kind, 64, group), weights(kind, 32, group))) == expected


def test_plain_weights_have_none(tmp_path: Path) -> None:
    assert read_weights_group(ir(tmp_path, plain(64))) is None


def test_a_few_weights_of_another_kind_do_not_count(tmp_path: Path) -> None:
    mixed = ir(tmp_path, weights("u4", 64, 128), weights("u8", 64, None), weights("u4", 2, 32), plain(512))
    assert read_weights_group(mixed) == 128


def test_an_embedding_counts_only_where_it_is_also_multiplied(tmp_path: Path) -> None:
    untied = ir(tmp_path, weights("u4", 64, 64), embedding=weights("u4", 4096, 32))
    assert read_weights_group(untied) == 64
    only = ir(tmp_path, plain(64), embedding=weights("u8", 4096, None))
    assert read_weights_group(only) is None
    table = weights("u8", 64, None)
    assert read_weights_group(ir(tmp_path, table, embedding=table)) == "per channel"


def test_integers_that_are_no_weights_do_not_count(tmp_path: Path) -> None:
    source = ops.parameter([-1, WIDTH], np.float32)
    table = ops.convert(ops.constant(np.ones((64, WIDTH), np.int8)), "f32")
    total = ops.add(ops.matmul(source, plain(64), False, True), ops.reduce_sum(table, np.array([0, 1])))
    ov.save_model(ov.Model([ops.result(total)], [source], "m"), tmp_path / "m.xml")
    assert read_weights_group(tmp_path / "m.xml") is None


def test_the_body_of_a_loop_does_not_count(tmp_path: Path) -> None:
    ir(tmp_path, weights("u4", 64, 64), weights("u8", 256, 128))
    inside = (tmp_path / "m.xml").read_text().partition("<net")[2]
    body = inside[inside.index("<layers>") : inside.index("</edges>") + len("</edges>")]
    loop = f'<layer id="0" name="l" type="Loop"><body>{body}</body></layer>'
    (tmp_path / "l.xml").write_text(f'<net name="n"><layers>{loop}</layers></net>')
    assert read_weights_group(tmp_path / "m.xml") == 64
    assert read_weights_group(tmp_path / "l.xml") is None


def test_real_models_are_read(smollm2_ir: Path, minilm_ir: Path) -> None:
    assert read_weights_group(smollm2_ir / "openvino_model.xml") == 32
    assert read_weights_group(minilm_ir / "openvino_model.xml") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<net",
        b"\xff\xfe\x00",
        b"<net><layers><layer type='Const'/></layers></net>",
        b"<net><layers><layer id='0' type='Const'><data element_type='u4' shape='x'/></layer></layers></net>",
        b"<net><edges><edge/></edges></net>",
        b"<!DOCTYPE net [<!ENTITY a 'aaaa'>]><net>&a;</net>",
    ],
)
def test_a_broken_ir_has_no_group(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "m.xml").write_bytes(content)
    assert read_weights_group(tmp_path / "m.xml") is None


def test_an_ir_that_is_not_there_has_no_group(tmp_path: Path) -> None:
    assert read_weights_group(tmp_path / "nowhere.xml") is None


# --- what to set ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "expected"), [(32, 32), (64, 64), (128, 128), (256, 128), ("per channel", 128), (None, None)]
)
def test_the_weights_group_is_set_up_to_128(group: WeightsGroup, expected: int | None) -> None:
    assert matching_group(group) == expected


@pytest.mark.parametrize(
    "flags",
    [["fma", "avx2"], ["avx2", "avx_vnni"], ["avx512f", "avx2"], [*VNNI, "amx_tile", "amx_int8"], []],
)
def test_it_was_not_measured_elsewhere(flags: list[str]) -> None:
    assert is_measured(VNNI)
    assert not is_measured(flags)


def test_flags_are_those_of_the_first_cpu(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nflags\t\t: fpu avx2 \nbugs\t: x\nflags\t: sse\n")
    assert read_cpu_flags(tmp_path / "cpuinfo") == {"fpu", "avx2"}
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nFeatures\t: fp asimd\n")
    assert read_cpu_flags(tmp_path / "cpuinfo") == frozenset()
    assert read_cpu_flags(tmp_path / "nowhere") == frozenset()
