"""What a host reports for the operator: its threads, and the format of the weights."""

import os
from pathlib import Path

import msgspec
import pytest

from host.facts import inference_threads, weights_format
from ipc.messages import TextOptions
from tests.frontend.supervision.test_announcement import launch

XML = "<net><layers>{}</layers></net>"
DATA = '<layer><data element_type="{}" shape="{}" offset="0" size="1"/></layer>'


def written(tmp_path: Path, *constants: tuple[str, str]) -> Path:
    file = tmp_path / "openvino_model.xml"
    file.write_text(XML.format("".join(DATA.format(*constant) for constant in constants)))
    return file


@pytest.mark.parametrize(
    ("constants", "expected"),
    [
        ([("f16", "10, 20")], "fp16"),
        ([("u4", "90"), ("i8", "10"), ("f16", "1"), ("i64", "")], "int4/int8"),
        ([("i8", "50"), ("u8", "40"), ("bf16", "10")], "int8/bf16"),
        ([("nf4", "9")], "nf4"),
        ([], ""),
    ],
)
def test_the_format_is_that_of_most_constants(tmp_path, constants, expected):
    assert weights_format(written(tmp_path, *constants)) == expected


@pytest.mark.parametrize(
    "content",
    ["", "<net", "<!DOCTYPE x><net/>", '<net><data element_type="f16" offset="0" shape="x"/></net>'],
)
def test_what_cannot_be_read_has_no_format(tmp_path, content):
    file = tmp_path / "openvino_model.xml"
    file.write_text(content)
    assert weights_format(file) == ""
    assert weights_format(tmp_path / "absent.xml") == ""


def test_the_format_of_a_real_model(smollm2_ir):
    assert weights_format(smollm2_ir / "openvino_model.xml").startswith("int4")


def test_threads_are_those_that_openvino_uses():
    free = launch("text", TextOptions())
    assert 1 <= inference_threads(free) <= (os.cpu_count() or 1)
    assert inference_threads(msgspec.structs.replace(free, threads=1)) == 1
    limited = msgspec.structs.replace(free, properties={"INFERENCE_NUM_THREADS": "1"})
    assert inference_threads(limited) == 1
    assert inference_threads(msgspec.structs.replace(free, device="GPU")) == 0
    assert inference_threads(msgspec.structs.replace(free, properties={"FOO": "1"})) == 0
