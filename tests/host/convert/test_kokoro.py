"""Kokoro's conversion: from its ONNX file of 8 bits to IR of 16 bits, with its voices and dictionaries."""

import json
import shutil
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as ops

from frontend.models.recognize import Recognized
from frontend.models.resolve import check_ir_folder
from host.convert.errors import ConversionError
from host.convert.kokoro import convert_kokoro, is_kokoro_folder
from host.convert.kokoro_graph import _with_known_ports
from ipc.ir import check_ir
from ipc.voices import LEXICONS, STYLE_BYTES
from tests.exact import F32

FRAME = 600  # samples


def test_a_converted_folder_is_served_as_speech(kokoro_ir: Path):
    assert check_ir_folder(kokoro_ir) == Recognized("speech", "genai")
    assert check_ir(kokoro_ir / "openvino_model.xml").inputs == {
        "input_ids": "i64",
        "ref_s": "f32",
        "speed": "f32",
    }


def test_nothing_is_quantized_while_it_runs(kokoro_ir: Path):
    kinds = {
        node.get_type_name() for node in ov.Core().read_model(kokoro_ir / "openvino_model.xml").get_ops()
    }
    assert {"MatMul", "Convolution"} <= kinds
    assert not kinds & {"FakeQuantize", "QuantizeLinear", "ReduceMin"}


def test_durations_are_those_of_the_waveform(kokoro_ir: Path):
    """In frames, one number for each token; twice the speed takes about half of them."""
    vocab = json.loads((kokoro_ir / "config.json").read_text())["vocab"]
    ids = [0, *(vocab[letter] for letter in "həlˈO."), 0]
    styles = np.fromfile(kokoro_ir / "voices" / "af_heart.bin", np.float32).reshape(-1, 256)
    model = ov.Core().compile_model(kokoro_ir / "openvino_model.xml", "CPU", F32)
    inputs = {"input_ids": np.array([ids]), "ref_s": styles[5:6], "speed": np.array([1.0], np.float32)}
    outputs = model(inputs)
    waveform, durations = outputs["waveform"], outputs["durations"]
    assert durations.shape == (1, len(ids))
    assert waveform.shape == (1, durations.sum() * FRAME)
    assert 0.1 < np.abs(waveform).max() <= 1.0
    np.testing.assert_array_equal(waveform, model(inputs)["waveform"])


def test_voices_and_dictionaries_are_those_of_the_source(kokoro_ir: Path):
    source = kokoro_ir.parent / "source"
    for name in [*(f"data/{lexicon}" for lexicon in LEXICONS), "voices/af_heart.bin"]:
        assert (kokoro_ir / name).read_bytes() == (source / name).read_bytes()
    assert (
        len(list((kokoro_ir / "voices").glob("*.bin"))) == len(list((source / "voices").glob("*.bin"))) == 41
    )


# --- sources that cannot be converted -------------------------------------------------------------------


@pytest.fixture
def source(kokoro_ir: Path, tmp_path: Path) -> Path:
    """A folder of links to the real files, with one voice."""
    folder, real = tmp_path / "source", kokoro_ir.parent / "source"
    for name in [
        "kokoro.onnx",
        "vocab.json",
        *(f"data/{lexicon}" for lexicon in LEXICONS),
        "voices/af_heart.bin",
    ]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(real / name)
    return folder


def replace(file: Path, content: bytes) -> None:
    file.unlink(missing_ok=True)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("kokoro.onnx", b"\x08\x08no model", "kokoro.onnx cannot be read"),
        ("vocab.json", b"{", "vocab.json"),
        ("vocab.json", b'{"vocab": {"a": 999}}', "no vocabulary of Kokoro"),
        ("vocab.json", b'{"vocab": {}}', "no vocabulary of Kokoro"),
        ("voices/af_heart.bin", b"\0" * 1000, "af_heart.bin has 1000 bytes"),
        ("voices/af_heart.bin", b"\xff" * STYLE_BYTES, "not finite"),
        ("voices/Heart.bin", b"\0" * STYLE_BYTES, "Heart.bin is not the name of a voice"),
        ("data/us_gold.json", b"[1]", "us_gold.json"),
    ],
)
def test_a_damaged_file_is_named(source: Path, tmp_path: Path, name: str, content: bytes, words: str):
    replace(source / name, content)
    (tmp_path / "ir").mkdir()
    with pytest.raises(ConversionError, match=words):
        convert_kokoro(source, tmp_path / "ir")


@pytest.mark.parametrize("name", ["vocab.json", "voices", "data/gb_silver.json"])
def test_a_missing_file_is_named(source: Path, tmp_path: Path, name: str):
    shutil.rmtree(source / name) if name == "voices" else (source / name).unlink()
    (tmp_path / "ir").mkdir()
    with pytest.raises(ConversionError, match=Path(name).name):
        convert_kokoro(source, tmp_path / "ir")


def test_a_graph_with_other_inputs_is_no_kokoro():
    parameter = ops.parameter([1], np.float32, name="x")
    parameter.output(0).set_names({"x"})
    with pytest.raises(ConversionError, match="not a Kokoro model: its inputs are x"):
        _with_known_ports(ov.Model([ops.relu(parameter)], [parameter]), "kokoro.onnx")


def test_folders_of_other_models_are_left_alone(tmp_path: Path):
    assert not is_kokoro_folder(tmp_path)
