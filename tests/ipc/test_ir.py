"""Damaged models are found before native code reads them; whole ones pass."""

import shutil
from importlib import metadata
from unittest.mock import Mock
from xml.parsers import expat

import pytest

from ipc.installed import find_version, newest_opset, version_of
from ipc.ir import check_ir, check_model, is_newer, newer_writer
from ipc.ir_facts import IrFacts, read_ir
from ipc.model_files import FileFault


@pytest.fixture
def folder(qwen3_ir, tmp_path):
    return shutil.copytree(qwen3_ir, tmp_path / "m")


@pytest.mark.parametrize(
    ("model", "task"),
    [("qwen3_ir", "text"), ("smollm2_ir", "text"), ("minilm_ir", "embeddings"), ("e5_ir", "embeddings")],
)
def test_real_models_pass(request, model, task):
    folder = request.getfixturevalue(model)
    check_model(folder, task)
    weights = folder / "openvino_model.bin"
    assert read_ir(folder / "openvino_model.xml").weights_bytes == weights.stat().st_size


@pytest.mark.parametrize("part", ["model", "tokenizer", "detokenizer"])
@pytest.mark.parametrize("kept", [0, 100, -1])
def test_weights_that_are_cut_off_are_named_with_their_size(folder, part, kept):
    file = folder / f"openvino_{part}.bin"
    content = file.read_bytes()
    file.write_bytes(content[:kept])
    sizes = f"{len(content[:kept])} of {len(content)} bytes"
    with pytest.raises(FileFault, match=rf"openvino_{part}\.bin is incomplete: {sizes}; download or convert"):
        check_model(folder, "text")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<net><layers>",
        b"<html></html>",
        b"not XML",
        b"<net>\0</net>",
        b'<!DOCTYPE n [<!ENTITY a "b">]><net>&a;</net>',
        b'<net><layer type="Const"><data offset="a" size="1"/></layer></net>',
        b'<net><layer type="Const"><data element_type="i8" shape="x" offset="0" size="1"/></layer></net>',
        b'<net><layer type="Const"><data element_type="i8" shape="-1" offset="0" size="1"/></layer></net>',
        b'<net><layer><data element_type="i8" shape="%b1" offset="0"/></layer></net>' % (b"9999999999," * 9),
    ],
)
def test_xml_that_is_no_model_is_named(folder, content):
    (folder / "openvino_model.xml").write_bytes(content)
    with pytest.raises(FileFault, match=r"openvino_model\.xml is damaged \(.*\); download or convert"):
        check_ir(folder / "openvino_model.xml")


def test_a_constant_in_the_body_of_a_loop_counts(folder):
    const = '<layer type="Const"><data offset="90" size="10"/></layer>'
    (folder / "openvino_model.xml").write_text(
        f'<net><layers><layer type="Loop"><data/><body><layers>{const}</layers></body></layer></layers></net>'
    )
    (folder / "openvino_model.bin").write_bytes(bytes(99))
    with pytest.raises(FileFault, match="99 of 100 bytes"):
        check_ir(folder / "openvino_model.xml")


def test_one_pass_finds_all_facts_and_passes_over_what_it_does_not_need(tmp_path):
    (tmp_path / "m.xml").write_text(
        "<net><layers><layer/>"
        '<layer id="0" name="x" type="Parameter"><data element_type="f32" shape="?,?"/></layer>'
        '<layer id="1" type="Const"><data element_type="u8" shape="2, 9" offset="0" size="18"/></layer>'
        '<layer id="2" type="Convert"/><layer id="3" type="MatMul"/></layers>'
        '<edges><edge/><edge from-layer="1" to-layer="2"/><edge from-layer="2" to-layer="3"/></edges></net>'
    )
    assert read_ir(tmp_path / "m.xml") == IrFacts(18, {"x": "f32"}, {"u8": 18}, "per channel")


def test_a_file_is_parsed_again_only_after_a_change(folder, monkeypatch):
    create = Mock(wraps=expat.ParserCreate)
    monkeypatch.setattr("ipc.ir_facts.expat.ParserCreate", create)
    for _ in range(2):
        check_model(folder, "text")
        assert read_ir(folder / "openvino_model.xml").elements
    assert create.call_count == 3
    (folder / "openvino_model.xml").write_text("<net/>")
    assert read_ir(folder / "openvino_model.xml") == IrFacts(0, {}, {}, None)


@pytest.mark.parametrize("name", ["openvino_detokenizer.bin", "openvino_model.xml"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileFault, match=rf"^{folder} lacks {name}$"):
        check_model(folder, "text")
    with pytest.raises(FileFault, match=r"openvino_model\.bin is not a folder$"):
        check_model(folder / "openvino_model.bin", "text")


@pytest.mark.parametrize(
    ("source", "part", "why"),
    [
        ("detokenizer", "tokenizer", "it takes no text"),
        ("model", "tokenizer", "it takes no text"),
        ("tokenizer", "detokenizer", "it takes text"),
        ("tokenizer", "model", "it takes text"),
    ],
)
def test_files_that_were_mixed_up_are_named(folder, source, part, why):
    for suffix in ("xml", "bin"):
        shutil.copy(folder / f"openvino_{source}.{suffix}", folder / f"openvino_{part}.{suffix}")
    with pytest.raises(FileFault, match=rf"openvino_{part}\.xml is not a {part}: {why}"):
        check_model(folder, "text")


def test_the_language_part_of_a_vision_model_is_told_from_a_text_model(folder):
    file = folder / "openvino_model.xml"
    file.write_text(file.read_text().replace('"input_ids"', '"inputs_embeds"'))
    with pytest.raises(FileFault, match="as the language part of a vision model does"):
        check_model(folder, "text")


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_json_that_native_code_would_stumble_over_is_named(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(FileFault, match=rf"{name} is not valid JSON"):
        check_model(folder, "text")


def test_an_input_is_known_by_its_tensors_names_too(tmp_path):
    file = tmp_path / "openvino_decoder_model.xml"
    file.write_text(
        '<net><layers><layer id="0" name="decoder_ids" type="Parameter"><data shape="?" element_type="i64"/>'
        '<output><port id="0" names="input_ids,ids"><dim>-1</dim></port></output></layer>'
        '<layer id="1" name="x" type="ShapeOf"><output><port id="0" names="shape"/></output></layer>'
        "</layers></net>"
    )
    assert read_ir(file).inputs == {"decoder_ids": "i64", "input_ids": "i64", "ids": "i64"}


def _rewritten(folder, **changes):
    file = folder / "openvino_model.xml"
    text = file.read_text()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)


NEWER = ('OpenVINO Runtime" value="2026', 'OpenVINO Runtime" value="2099')
UNKNOWN = ('version="opset13"', 'version="opset99"')


def test_the_version_and_the_operations_of_an_ir_are_read(folder):
    facts = read_ir(folder / "openvino_model.xml")
    assert facts.runtime == version_of("openvino")
    assert 13 <= facts.opset <= newest_opset()
    assert facts.format == 11


def test_an_ir_with_operations_of_a_newer_openvino_names_what_it_needs(folder):
    _rewritten(folder, runtime=NEWER, opset=UNKNOWN)
    here = version_of("openvino")
    with pytest.raises(FileFault, match=rf"needs OpenVINO >= 2099\.\d.*, here is {here}: .* opset99"):
        check_model(folder, "text")


def test_an_ir_with_unknown_operations_is_refused_whoever_wrote_it(folder):
    _rewritten(folder, opset=UNKNOWN)
    with pytest.raises(FileFault, match="needs OpenVINO with opset99, here is"):
        check_model(folder, "text")


def test_an_ir_in_a_newer_format_is_refused_unless_this_openvino_wrote_it(folder):
    _rewritten(folder, format=('" version="11">', '" version="12">'))
    check_model(folder, "text")
    _rewritten(folder, runtime=NEWER)
    with pytest.raises(FileFault, match=r"needs OpenVINO >= 2099.*: it uses version 12 of the format"):
        check_model(folder, "text")


def test_an_ir_of_a_newer_openvino_that_uses_nothing_new_is_not_refused(folder):
    assert newer_writer(folder) == ""
    _rewritten(folder, runtime=NEWER)
    check_model(folder, "text")
    assert newer_writer(folder).startswith("2099.")


@pytest.mark.parametrize(
    ("version", "here", "newer"),
    [
        ("2026.4.2", "2026.4.1", False),
        ("2026.5.0", "2026.4.1", True),
        ("2026.10.0", "2026.4.1", True),
        ("2025.4.0", "2026.4.1", False),
        ("", "2026.4.1", False),
    ],
)
def test_versions_are_compared_as_numbers(version, here, newer):
    assert is_newer(version, here) is newer


def test_versions_found_by_folder_are_those_that_the_metadata_state():
    for package in ("openvino", "openvino-genai", "openvino_tokenizers", "msgspec"):
        assert version_of(package) == metadata.version(package)
    assert find_version("openvino", []) == ""
