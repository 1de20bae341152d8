"""What is said of GGUF files that cannot be served, before native code reads them."""

import contextlib
import re
import struct
import textwrap
from pathlib import Path

import gguf
import pytest
from gguf.constants import GGMLQuantizationType as Kind
from hypothesis import given
from hypothesis import strategies as st

from host.convert.errors import ConversionError
from host.convert.gguf import GgufMetadata
from host.convert.gguf_check import check_gguf
from host.convert.gguf_tensors import read_tensors
from tests.host.convert.tiny_gguf import shapes, vocabulary, write_tiny

EXPORT = "convert the original: optimum-cli export openvino --model MODEL FOLDER"


def refusal(path: Path) -> str:
    with pytest.raises(ConversionError) as raised:
        check_gguf(path)
    text = str(raised.value)
    assert "\n" not in text
    assert len(textwrap.wrap(f"Error: cannot convert {'x' * 48}: {text}", 80)) <= 3
    return text


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("good") / "good.gguf", Kind.Q4_0, general__file_type=2)


def test_a_whole_file_passes_with_its_tensors(good: Path) -> None:
    assert {name: tensor.shape for name, tensor in check_gguf(good).tensors.items()} == shapes()


# --- damaged ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99, 0.999999])
def test_half_a_download_says_how_much_of_it_is_there(good: Path, tmp_path: Path, part: float) -> None:
    content = good.read_bytes()
    whole = max(tensor.offset + tensor.size for tensor in check_gguf(good).tensors.values())
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(content[: int(whole * part)])
    assert refusal(cut) == (
        f"the file is incomplete: it has {int(whole * part):,} of {whole:,} bytes; download it again"
    )


def test_every_truncation_of_the_header_is_an_error(good: Path) -> None:
    content = good.read_bytes()
    end = min(tensor.offset for tensor in check_gguf(good).tensors.values())
    for length in {*range(600), *range(600, end, 97), end - 1}:
        with pytest.raises(ConversionError):
            read_tensors(GgufMetadata(content[:length]))


def with_tensor_field(good: Path, name: str, at: int, field: bytes) -> bytes:
    """The file with other bytes `at` so far behind a tensor's name in the list of tensors."""
    content = bytearray(good.read_bytes())
    place = content.index(struct.pack("<Q", len(name)) + name.encode()) + 8 + len(name) + at
    content[place : place + len(field)] = field
    return bytes(content)


EMBEDDING = "token_embd.weight"


@pytest.mark.parametrize(
    ("at", "field", "said"),
    [
        (0, struct.pack("<I", 5), "has 5 dimensions"),
        (0, struct.pack("<I", 0), "has 0 dimensions"),
        (4, struct.pack("<Q", 0), "has the shape"),
        (4, struct.pack("<Q", 2**63), "has the shape"),
        (4, struct.pack("<Q", 33), "has rows of 33 numbers, which Q4_0 cannot hold"),
        (4, struct.pack("<Q", 2**39), "the file is incomplete"),
        (4, struct.pack("<Q", 32), r"has the shape .*, not"),
        (20, struct.pack("<I", 99), "unknown type 99; get the model in another quantization"),
        (20, struct.pack("<I", 4), "unknown type 4; get the model in another quantization"),  # removed ones
        (24, struct.pack("<Q", 2**60), "the file is incomplete"),
        (24, struct.pack("<Q", 2**64 - 32), "the file is incomplete"),
        (24, struct.pack("<Q", 1), "overlaps another or is not aligned"),
        (24, struct.pack("<Q", 32), "overlaps another or is not aligned"),
    ],
    ids=str,
)
def test_impossible_tensors_are_named(good: Path, tmp_path: Path, at: int, field: bytes, said: str) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(with_tensor_field(good, EMBEDDING, at, field))
    assert re.search(said, refusal(bad))


@pytest.mark.parametrize(
    "name", ["blk.1.ffn_up.weight", "output_norm.weight", EMBEDDING, "blk.0.ffn_gate.weight"]
)
def test_a_missing_tensor_is_named(tmp_path: Path, name: str) -> None:
    path = write_tiny(tmp_path / "m.gguf", leave_out=(name,))
    assert refusal(path) == f"the tensor {name} is missing; download it again"


NUMBER = "is no valid number; download it again"


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"llama__block_count": 0}, f"llama.block_count {NUMBER}"),
        ({"llama__block_count": 2**32 - 1}, f"llama.block_count {NUMBER}"),
        ({"llama__block_count": 3}, "the tensor blk.2.attn_q.weight is missing"),
        ({"llama__block_count": "two"}, f"llama.block_count {NUMBER}"),
        ({"llama__block_count": 1}, "belongs to a variant that is not supported"),
        ({"llama__embedding_length": 128}, "has the shape"),
        ({"llama__attention__head_count": 0}, f"llama.attention.head_count {NUMBER}"),
        ({"llama__attention__head_count": [4, 4]}, f"llama.attention.head_count {NUMBER}"),
        ({"llama__attention__head_count_kv": 3}, "do not fit together"),
        ({"llama__attention__head_count_kv": 4}, "has the shape"),
        ({"llama__attention__layer_norm_rms_epsilon": float("nan")}, NUMBER),
        ({"llama__attention__layer_norm_rms_epsilon": 1}, NUMBER),
        ({"llama__rope__freq_base": "high"}, f"llama.rope.freq_base {NUMBER}"),
        ({"tokenizer__ggml__eos_token_id": 99999}, "tokenizer.ggml.eos_token_id is no token"),
        ({"tokenizer__ggml__unknown_token_id": 99999}, "tokenizer.ggml.unknown_token_id is no token"),
        ({"tokenizer__ggml__bos_token_id": "<s>"}, "tokenizer.ggml.bos_token_id is no token"),
        ({"tokenizer__ggml__tokens": [*vocabulary(), "more"]}, "tokens, but"),
    ],
    ids=str,
)
def test_metadata_that_do_not_fit_are_named(tmp_path: Path, metadata: dict, said: str) -> None:
    assert said in refusal(write_tiny(tmp_path / "m.gguf", **metadata))


@pytest.mark.parametrize(
    "key",
    [
        "llama.block_count",
        "llama.attention.layer_norm_rms_epsilon",
    ],
)
def test_missing_metadata_are_named(tmp_path: Path, key: str) -> None:
    assert key in refusal(write_tiny(tmp_path / "m.gguf", leave_out=(key,)))


# --- foreign ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a GGUF file: it is empty; download it again"),
        (
            b"Once upon a time",
            "not a GGUF file but a text file; name the file with the weights of a model",
        ),
        ("Märchen\n".encode() * 100, "not a GGUF file but a text file"),
        (b"\n<!DOCTYPE html><html>", "not a GGUF file but a web page; download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "with: git lfs pull"),
        (b"PK\x03\x04" + bytes(99), "not a GGUF file but a zip archive or PyTorch weights"),
        (struct.pack("<Q", 99) + b'{"__metadata__"', "not a GGUF file but a safetensors file"),
        (b"tjgg" + bytes(99), "not a GGUF file but a GGML file; get a GGUF file of this model"),
        (bytes(4096), "it begins with zeros; download it again"),
        (b"\xff\xfe\x00\x01" * 50, "not a GGUF file; download it again"),
        (struct.pack(">4sIQQ", b"GGUF", 3, 1, 1), "for big-endian machines; get the little-endian one"),
        (struct.pack("<4sIQQ", b"GGUF", 1, 1, 1), "GGUF version 1 is not supported; get a newer file"),
        (struct.pack("<4sIQQ", b"GGUF", 77, 1, 1), "GGUF version 77 is not supported"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 2**62, 0), "are too many; download it again"),
    ],
    ids=str,
)
def test_files_of_other_kinds_are_named(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "m.gguf"
    file.write_bytes(content)
    assert said in refusal(file)


def test_another_architecture_is_named_with_those_that_work(tmp_path: Path) -> None:
    assert refusal(write_tiny(tmp_path / "m.gguf", architecture="gemma3")) == (
        f"the architecture 'gemma3' is not supported in GGUF files (llama, qwen2 and qwen3 are); {EXPORT}"
    )


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"general__type": "adapter"}, "it is a LoRA adapter, not a model; serve its base model"),
        (
            {"general__type": "mmproj"},
            "it is the vision part of a model; give the GGUF file of its text model",
        ),
        ({"general__type": "imatrix"}, "it is an importance matrix, not a model"),
        ({"llama__expert_count": 8}, f"mixtures of experts are not supported in GGUF files; {EXPORT}"),
    ],
    ids=str,
)
def test_kinds_of_gguf_files_that_are_no_served_model(tmp_path: Path, metadata: dict, said: str) -> None:
    assert said in refusal(write_tiny(tmp_path / "m.gguf", **metadata))


def test_a_vision_encoder_is_named(tmp_path: Path) -> None:
    assert "the vision part of a model" in refusal(write_tiny(tmp_path / "m.gguf", architecture="clip"))


def test_one_part_of_several_is_named(tmp_path: Path) -> None:
    def split(writer: gguf.GGUFWriter) -> None:
        writer.add_uint16("split.count", 3)

    assert refusal(write_tiny(tmp_path / "m.gguf", change=split)) == (
        "it is one of 3 parts of a model; join them: llama-gguf-split --merge FIRST_PART OUTPUT"
    )


def test_a_file_that_was_joined_again_passes(tmp_path: Path) -> None:
    def split(writer: gguf.GGUFWriter) -> None:
        writer.add_uint16("split.count", 0)

    check_gguf(write_tiny(tmp_path / "m.gguf", change=split))


def test_a_later_part_of_several_is_named(tmp_path: Path) -> None:
    """It has no metadata of the model."""
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "", use_temp_file=False)
    writer.kv_data[0].clear()
    writer.add_uint16("split.no", 1)
    writer.add_uint16("split.count", 3)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert "it is one of 3 parts of a model" in refusal(tmp_path / "m.gguf")


def test_a_vocabulary_alone_is_named(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", leave_out=tuple(shapes()))
    assert refusal(path) == "it holds a vocabulary but no weights; get the GGUF file with the weights"


def test_a_variant_with_more_tensors_is_refused(tmp_path: Path) -> None:
    import numpy as np

    def more(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor("blk.0.attn_sinks.weight", np.zeros(4, np.float32))

    text = refusal(write_tiny(tmp_path / "m.gguf", change=more))
    assert text == f"the tensor blk.0.attn_sinks.weight belongs to a variant that is not supported; {EXPORT}"


def test_rotation_factors_are_ignored(tmp_path: Path) -> None:
    import numpy as np

    def more(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor("rope_freqs.weight", np.ones(32, np.float32))

    assert "rope_freqs.weight" not in check_gguf(write_tiny(tmp_path / "m.gguf", change=more)).tensors


# --- fuzzing ------------------------------------------------------------------------------------------------


@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(good: Path, tmp_path_factory, data: st.DataObject) -> None:
    content = bytearray(good.read_bytes())
    end = min(tensor.offset for tensor in check_gguf(good).tensors.values())
    for _ in range(data.draw(st.integers(1, 4))):
        damage = data.draw(st.binary(min_size=1, max_size=9))
        at = data.draw(st.integers(0, end - 1))
        content[at : at + len(damage)] = damage
    path = tmp_path_factory.getbasetemp() / "fuzzed.gguf"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(ConversionError):
        check_gguf(path)


def string(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 31, 32, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1]), st.integers(0, 64)
)
ENTRIES = st.builds(
    lambda key, kind, body: string(key) + struct.pack("<I", kind) + body,
    st.sampled_from(
        [b"general.architecture", b"general.alignment", b"llama.block_count", b"split.count", b""]
    ),
    st.integers(0, 14),
    st.one_of(
        st.binary(max_size=16), st.builds(lambda n, k: struct.pack("<IQ", k, n), NUMBERS, st.integers(0, 13))
    ),
)
TENSORS = st.builds(
    lambda name, shape, kind, offset: (
        string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape) + struct.pack("<IQ", kind, offset)
    ),
    st.sampled_from([b"token_embd.weight", b"", b"x" * 70, b"\xff"]),
    st.lists(NUMBERS, max_size=5),
    st.integers(0, 45),
    NUMBERS,
)


@given(st.lists(ENTRIES, max_size=4), st.lists(TENSORS, max_size=4), st.sampled_from([None, 0, 2**40]))
def test_made_up_headers_are_read_or_refused(
    entries: list[bytes], tensors: list[bytes], count: int | None
) -> None:
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors) if count is None else count, len(entries))
    try:
        found = read_tensors(GgufMetadata(head + b"".join(entries) + b"".join(tensors) + bytes(64)))
    except ConversionError:
        return
    assert all(tensor.size <= 64 for tensor in found.values())
