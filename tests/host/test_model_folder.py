"""The JSON files of a model folder: what they say, and why some are refused by name."""

import json
from pathlib import Path

import pytest

from host.model_folder import ModelFolderError, read_model_folder


def folder_with(path: Path, **files: bytes) -> Path:
    for name, content in files.items():
        (path / f"{name}.json").write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content",
    [
        json.dumps({"a": 1}).encode("utf-16"),
        json.dumps({"a": 1}).encode("utf-32"),
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\xff"}',
        b"{",
        b"[]",
    ],
)
@pytest.mark.parametrize("name", ["config", "generation_config", "tokenizer_config"])
def test_a_file_that_the_engine_could_not_read_is_refused_by_name(tmp_path, name, content):
    with pytest.raises(ModelFolderError, match=f"{name}.json"):
        read_model_folder(folder_with(tmp_path, **{name: content}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", -1),
        ("top_p", 0),
        ("top_p", 1.5),
        ("top_k", -2),
        ("min_p", 1),
        ("repetition_penalty", 0),
    ],
)
def test_a_default_that_no_engine_takes_is_refused_by_file_and_field(tmp_path, field, value):
    content = json.dumps({field: value}).encode()
    with pytest.raises(ModelFolderError, match=rf"generation_config.json: .*{field}"):
        read_model_folder(folder_with(tmp_path, generation_config=content))


def test_a_byte_order_mark_and_huge_numbers_are_read(tmp_path):
    tokenizer = b'{"model_max_length": 1000000000000000019884624838656, "eos_token": "</s>"}'
    content = b'\xef\xbb\xbf{"max_position_embeddings": 512}'
    folder = read_model_folder(folder_with(tmp_path, config=content, tokenizer_config=tokenizer))
    assert folder.context_length == 512
    assert folder.special_tokens == {"eos_token": "</s>"}
