"""The GGUF header: what is read, and that bad input ends in a clear error."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.convert.__main__ import main
from host.convert.gguf import GgufError, GgufMetadata, read_gguf_metadata
from host.convert.gguf_model import describe
from host.model_folder import read_model_folder

Value = int | float | str | bool | list[str] | list[int]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def encode(value: Value) -> bytes:
    """Type number and value."""
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + text(value)
        case list() if value and isinstance(value[0], str):
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(str(item)) for item in value)
        case _:
            return struct.pack("<IIQ", 9, 5, len(value)) + b"".join(struct.pack("<i", item) for item in value)


def gguf(**values: Value) -> bytes:
    entries = b"".join(text(key.replace("__", ".")) + encode(value) for key, value in values.items())
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, len(values)) + entries


LLAMA = gguf(
    general__architecture="llama",
    llama__context_length=4096,
    llama__block_count=2,
    llama__embedding_length=64,
    llama__attention__head_count=4,
    llama__attention__head_count_kv=2,
    llama__rope__freq_base=10000.0,
    tokenizer__ggml__tokens=["<unk>", "<s>", "</s>", "<eot>", "a"],
    tokenizer__ggml__token_type=[1, 2, 3, 1, 1],
    tokenizer__ggml__bos_token_id=1,
    tokenizer__ggml__eos_token_id=2,
    tokenizer__ggml__eot_token_id=3,
    tokenizer__ggml__add_bos_token=True,
    tokenizer__chat_template="{{ messages }}",
)


def test_scalars_and_string_arrays_are_read() -> None:
    metadata = GgufMetadata(LLAMA)
    assert metadata.integer("llama.context_length") == 4096
    assert metadata.text("general.architecture") == "llama"
    assert metadata.count("tokenizer.ggml.tokens") == 5
    assert metadata.element("tokenizer.ggml.tokens", 2) == "</s>"
    assert metadata.values["tokenizer.ggml.add_bos_token"] is True
    assert metadata.integers("tokenizer.ggml.token_type") == [1, 2, 3, 1, 1]


def test_what_is_not_there_is_none() -> None:
    metadata = GgufMetadata(LLAMA)
    assert metadata.integer("general.architecture") is None
    assert metadata.integer("tokenizer.ggml.add_bos_token") is None
    assert metadata.count("tokenizer.ggml.token_type") is None
    assert metadata.element("tokenizer.ggml.tokens", 5) is None
    assert metadata.integers("tokenizer.ggml.tokens") == []
    assert metadata.element("tokenizer.ggml.tokens", -1) is None


def test_the_metadata_becomes_the_files_of_a_hugging_face_folder(tmp_path: Path) -> None:
    files = describe(GgufMetadata(LLAMA))
    assert files["config.json"] == {
        "model_type": "llama",
        "max_position_embeddings": 4096,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "hidden_size": 64,
        "head_dim": 16,
        "vocab_size": 5,
        "bos_token_id": 1,
        "eos_token_id": [2, 3],
    }
    assert files["generation_config.json"] == {"bos_token_id": 1, "eos_token_id": [2, 3]}
    assert files["tokenizer_config.json"] == {
        "chat_template": "{{ messages }}",
        "bos_token": "<s>",
        "eos_token": "</s>",
    }


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "its header reaches past the end"),
        (b"GGUF", "its header reaches past the end"),
        (b"PK\x03\x04" + bytes(40), "not a GGUF file"),
        (struct.pack("<4sIQQ", b"GGUF", 1, 0, 0), "version 1"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**63), "too many"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 1), "its header reaches past the end"),
        (struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 2**63), "too long"),
        (gguf(a="text")[:-1], "past the end"),
        (gguf(a=[1, 2])[:-1], "past the end"),
        (gguf(a=["x", "y"])[:-1], "past the end"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("a") + struct.pack("<I", 77), "type 77"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 9, 1), "type 9"),
        (
            struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 4, 2**64 - 1),
            "past the",
        ),
        (
            struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 8, 2**64 - 1),
            "too many",
        ),
    ],
)
def test_a_broken_header_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(GgufError, match=reason):
        GgufMetadata(data)


@given(st.integers(0, len(LLAMA) - 1), st.binary(min_size=1, max_size=9))
def test_a_damaged_header_raises_nothing_else(at: int, damage: bytes) -> None:
    try:
        metadata = GgufMetadata(LLAMA[:at] + damage + LLAMA[at + len(damage) :])
        describe(metadata)
    except GgufError:
        pass


def test_an_empty_file_is_no_gguf(tmp_path: Path) -> None:
    (tmp_path / "empty.gguf").touch()
    with pytest.raises(GgufError, match="not a GGUF file"):
        read_gguf_metadata(tmp_path / "empty.gguf")


def test_converting_what_is_no_gguf_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, folder = tmp_path / "bad.gguf", tmp_path / "out"
    source.write_bytes(b"this is a text, and a long one")
    folder.mkdir()
    assert main([str(source), str(folder)]) == 1
    assert capsys.readouterr().err == (
        "cannot convert bad.gguf: not a GGUF file but a text file; "
        "name the file with the weights of a model\n"
    )
    assert list(folder.iterdir()) == []


def test_the_converted_real_model_describes_itself(smollm2_ir: Path) -> None:
    folder = read_model_folder(smollm2_ir)
    assert (folder.context_length, folder.vocab_size) == (8192, 49152)
    assert folder.eos_token_ids == {2}
    assert folder.special_tokens["eos_token"] == "<|im_end|>"
    assert folder.chat_template is not None and "im_start" in folder.chat_template
