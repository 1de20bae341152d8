"""Whole encoders: from a source to a folder, in the process that does it."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import openvino_tokenizers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.models.converter import convert
from frontend.models.errors import ModelError
from frontend.models.recognize import Recognized
from frontend.models.resolve import check_ir_folder
from host.convert.__main__ import main
from host.convert.e5_pack import read_e5_bytes
from host.convert.encoder import read_encoder_folder
from host.convert.errors import ConversionError
from tests.exact import F32
from tests.host.convert.tiny import CONFIG, PIECES, pack, weights, write_folder


def core_with_tokenizers() -> ov.Core:
    core = ov.Core()
    core.add_extension(str(openvino_tokenizers._ext_path))
    return core


def run(folder: Path, **texts: list[str]) -> np.ndarray[Any, Any]:
    """Texts through the tokenizer and the model of a folder, without pooling."""
    core = core_with_tokenizers()
    tokens = core.compile_model(folder / "openvino_tokenizer.xml", "CPU")(dict(enumerate(texts.values())))
    model = core.compile_model(folder / "openvino_model.xml", "CPU", F32)
    result: np.ndarray[Any, Any] = model(
        {name: tokens[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    )[0]
    return result


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ir").mkdir()
    return tmp_path / "ir"


def test_a_folder_becomes_an_ir_folder_with_its_files(tmp_path: Path, folder: Path) -> None:
    source = write_folder(tmp_path / "source")
    (source / "1_Pooling").mkdir()
    for name in ("modules.json", "1_Pooling/config.json", "config_sentence_transformers.json"):
        (source / name).write_text("{}")
    (source / "pytorch_model.bin").touch()
    convert(source, folder)
    assert check_ir_folder(folder) == Recognized("embeddings")
    assert run(folder, text=["a cat", "b"]).shape == (2, 4, 32)
    copied = {str(file.relative_to(folder)) for file in folder.rglob("*.json")}
    assert copied == {str(file.relative_to(source)) for file in source.rglob("*.json")}
    assert not (folder / "pytorch_model.bin").exists()
    assert (folder / "openvino_model.bin").stat().st_size < (
        source / "model.safetensors"
    ).stat().st_size * 0.6


def test_old_names_of_weights_are_understood(tmp_path: Path, folder: Path) -> None:
    convert(write_folder(tmp_path / "new"), folder)
    expected = run(folder, text=["a cat"])
    old = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in weights(CONFIG).items()
    }
    (tmp_path / "other").mkdir()
    convert(write_folder(tmp_path / "old", old), tmp_path / "other")
    assert (run(tmp_path / "other", text=["a cat"]) == expected).all()


def test_a_cross_encoder_takes_pairs(tmp_path: Path, folder: Path) -> None:
    random = np.random.default_rng(1)
    shapes = {"bert.pooler.dense.weight": (32, 32), "bert.pooler.dense.bias": (32,)}
    shapes |= {"classifier.weight": (1, 32), "classifier.bias": (1,)}
    head = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    body = {f"bert.{name}": value for name, value in weights(CONFIG).items()}
    source = write_folder(
        tmp_path / "source", body | head, architectures=["BertForSequenceClassification"], id2label={"0": "x"}
    )
    convert(source, folder)
    assert check_ir_folder(folder) == Recognized("rerank")
    scores = run(folder, first=["cat"], second=["a", "b", ""])
    assert scores.shape == (3, 1)
    assert len(np.unique(scores)) == 3


# --- what cannot be converted -----------------------------------------------------------------------------


def test_a_process_that_fails_says_why_in_one_line(tmp_path: Path, folder: Path) -> None:
    source = write_folder(tmp_path / "source", hidden_act="silu")
    with pytest.raises(ModelError, match=r"^cannot convert source: config\.json: .*silu") as raised:
        convert(source, folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", None, "config.json is missing"),
        ("config.json", b"{", "config.json: "),
        ("config.json", b"[]", "config.json: "),
        ("tokenizer.json", None, "tokenizer.json is missing"),
        ("tokenizer.json", b"\xff", "tokenizer.json: "),
        ("tokenizer.json", b"[" * 100_000, "tokenizer.json: "),
        ("tokenizer_config.json", b"[]", "tokenizer_config.json: "),
        ("tokenizer_config.json", b'{"pad_token": "<pad>"}', "lacks the padding token '<pad>'"),
        ("model.safetensors", None, "model.safetensors is missing"),
        ("model.safetensors", b"", "not a safetensors file"),
        ("model.safetensors", b"\2\0\0\0\0\0\0\0{}", "embeddings.word_embeddings.weight is missing"),
    ],
)
def test_a_damaged_folder_is_refused_with_its_reason(
    tmp_path: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes | None,
    reason: str,
) -> None:
    source = write_folder(tmp_path / "source")
    if content is None:
        (source / name).unlink()
    else:
        (source / name).write_bytes(content)
    assert main([str(source), str(folder)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cannot convert source: ")
    assert reason in line


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "source")
    (source / "tokenizer.json").unlink()
    os.mkfifo(source / "tokenizer.json")
    with pytest.raises(ConversionError, match=r"tokenizer\.json is missing"):
        read_encoder_folder(source)


# --- packed e5 weights ------------------------------------------------------------------------------------

PACKED = pack(weights(CONFIG))


def test_packed_weights_are_those_of_their_blocks(tmp_path: Path) -> None:
    source = read_e5_bytes(PACKED)
    for name, values in weights(CONFIG).items():
        found = source.weight(name, values.shape)
        assert found.dtype == np.float32
        if values.ndim == 1 or "position" in name or "token_type" in name:
            assert (found == values).all()
        else:
            step = np.abs(values.reshape(-1, 32)).max(axis=1) / 7
            error = np.abs(found - values).reshape(-1, 32).max(axis=1)
            assert (error < step * 0.51).all(), name


def test_packed_weights_become_an_ir_folder_like_the_originals(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "e5.bin").write_bytes(PACKED)
    convert(tmp_path / "e5.bin", folder)
    assert check_ir_folder(folder) == Recognized("embeddings")
    stated = {
        file: json.loads((folder / file).read_text()) for file in ("modules.json", "1_Pooling/config.json")
    }
    assert [module["type"].rpartition(".")[2] for module in stated["modules.json"]] == [
        "Transformer",
        "Pooling",
        "Normalize",
    ]
    assert stated["1_Pooling/config.json"]["pooling_mode_mean_tokens"]
    assert run(folder, text=["a", "cat"]).shape == (2, 3, 32)


def test_packed_weights_have_their_tokenizer(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "e5.bin").write_bytes(PACKED)
    convert(tmp_path / "e5.bin", folder)
    tokenizer = core_with_tokenizers().compile_model(folder / "openvino_tokenizer.xml", "CPU")
    rows = tokenizer({0: ["a\tca\x01ts", "z", "ab"]})["input_ids"].tolist()
    texts = [
        ["<s>", "▁a", "▁cat", "s", "</s>"],
        ["<s>", "▁", "<unk>", "</s>", "<pad>"],
        ["<s>", "▁a", "b", "</s>", "<pad>"],
    ]
    assert rows == [[PIECES.index(piece) for piece in text] for text in texts]
    json.loads((folder / "tokenizer.json").read_text())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a file of packed e5 weights"),
        (b"GGUF" + PACKED[4:], "not a file of packed e5 weights"),
        (PACKED[:60], "ends in the middle"),
        (PACKED[:200], "ends in the middle"),
        (
            pack(weights(CONFIG), CONFIG | {"num_hidden_layers": 0}),
            "the header is damaged: .*num_hidden_layers",
        ),
        (PACKED[:40] + b"\x10" + PACKED[41:], "blocks of 16 weights"),
        (PACKED[:44] + b"\xff\xff\xff\x7f" + PACKED[48:], "a count of 2147483647"),
        (PACKED[:48] + b"\xff" + PACKED[49:], "a special token is not a piece"),
        (PACKED[:76] + b"\xff\xff" + PACKED[78:], "the pieces are not in order; download it again"),
    ],
)
def test_a_damaged_pack_is_refused_with_its_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(ConversionError, match=reason):
        read_e5_bytes(data)


@given(st.integers(4, 700), st.binary(min_size=1, max_size=9))
def test_a_damaged_pack_raises_nothing_else(at: int, damage: bytes) -> None:
    with contextlib.suppress(ConversionError):
        source = read_e5_bytes(PACKED[:at] + damage + PACKED[at + len(damage) :])
        for name, values in weights(CONFIG).items():
            source.weight(name, values.shape)


@given(st.integers(4, len(PACKED) - 1))
def test_a_pack_that_is_cut_short_raises_nothing_else(length: int) -> None:
    with pytest.raises(ConversionError):
        source = read_e5_bytes(PACKED[:length])
        for name, values in weights(CONFIG).items():
            source.weight(name, values.shape)
