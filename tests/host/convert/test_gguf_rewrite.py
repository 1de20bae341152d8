"""Files with types of tensors that the engine lacks: what they become, and that OpenVINO reads the result."""

import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import openvino
import pytest
from gguf.constants import GGMLQuantizationType as Kind
from openvino_genai import LLMPipeline

from host.convert.errors import ConversionError
from host.convert.gguf_check import CheckedGguf, check_gguf
from host.convert.gguf_model import convert_gguf
from host.convert.gguf_rewrite import plan_rewrite, rewrite, rewritten_size
from tests.host.convert.tiny_gguf import HIDDEN, shapes, vocabulary, write_tiny

ENGINE_READS = [Kind.F16, Kind.Q4_0, Kind.Q4_1, Kind.Q8_0, Kind.Q4_K, Kind.Q6_K]
BECOME_F16 = [Kind.F64, Kind.F32, Kind.BF16]


def can_expand(kind: Kind) -> bool:
    try:
        gguf.quants.dequantize(np.zeros((1, gguf.GGML_QUANT_SIZES[kind][1]), np.uint8), kind)
    except NotImplementedError:
        return False
    return True


OTHERS = [kind for kind in gguf.GGML_QUANT_SIZES if kind not in ENGINE_READS + BECOME_F16]
BECOME_Q8_0 = [kind for kind in OTHERS if can_expand(kind)]


def numbers(checked: CheckedGguf, name: str) -> np.ndarray:
    tensor = checked.tensors[name]
    raw = np.frombuffer(checked.metadata.data, np.uint8, tensor.size, tensor.offset)
    if tensor.kind is Kind.F64:
        return raw.view(np.float64).reshape(tensor.shape)
    expanded: np.ndarray = gguf.quants.dequantize(raw.reshape(tensor.rows, -1), tensor.kind)
    return expanded.reshape(tensor.shape)


def test_the_types_that_must_change_include_all_of_the_package() -> None:
    known = {Kind.Q5_0, Kind.Q5_1, Kind.Q5_K, Kind.Q2_K, Kind.Q3_K, Kind.IQ4_XS, Kind.MXFP4}
    assert known <= set(BECOME_Q8_0)
    assert len(BECOME_Q8_0) >= 18


@pytest.mark.parametrize("kind", BECOME_Q8_0 + BECOME_F16, ids=lambda kind: kind.name)
def test_every_type_that_can_be_expanded_becomes_one_that_the_engine_reads(
    tmp_path: Path, kind: Kind
) -> None:
    before = check_gguf(write_tiny(tmp_path / "m.gguf", kind))
    plan = plan_rewrite(before)
    new = Kind.Q8_0 if kind in BECOME_Q8_0 else Kind.F16
    assert plan.note == (
        f"Converted 15 {kind.name} tensors to {new.name}, because the engine does not read them."
    )
    rewrite(before, plan, tmp_path / "new.gguf")
    after = check_gguf(tmp_path / "new.gguf")
    assert 0 <= (tmp_path / "new.gguf").stat().st_size - rewritten_size(before, plan) < 32 * 1024
    assert after.metadata.values["general.file_type"] == (7 if kind in BECOME_Q8_0 else 1)
    for name, shape in shapes().items():
        old = numbers(before, name)
        assert after.tensors[name].kind is (new if len(shape) > 1 else Kind.F32)
        blocks = old.reshape(-1, 32)
        error = np.abs(numbers(after, name).reshape(-1, 32) - blocks)
        step = np.abs(blocks).max(axis=1, keepdims=True) / (127 if new is Kind.Q8_0 else 1024)
        assert (error <= step * 0.57 + 1e-5).all(), "half a step, of which the scale has 11 bits"


def test_the_readers_of_the_package_and_ours_agree_on_what_is_written(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", Kind.Q5_0, change=lambda writer: writer.add_custom_alignment(128))
    before = check_gguf(path)
    rewrite(before, plan_rewrite(before), tmp_path / "new.gguf")
    old, new = gguf.GGUFReader(path), gguf.GGUFReader(tmp_path / "new.gguf")
    assert new.fields.keys() == old.fields.keys()
    changed = {key for key in old.fields if new.fields[key].contents() != old.fields[key].contents()}
    assert changed == {"general.file_type"}
    assert [tensor.name for tensor in new.tensors] == [tensor.name for tensor in old.tensors]
    ours = check_gguf(tmp_path / "new.gguf").tensors
    assert {tensor.name: tensor.data_offset for tensor in new.tensors} == {
        name: tensor.offset for name, tensor in ours.items()
    }


def test_a_mixture_names_each_type(tmp_path: Path) -> None:
    kinds = {
        "blk.0.ffn_down.weight": Kind.Q5_K,
        "blk.1.ffn_down.weight": Kind.Q3_K,
        "output_norm.weight": Kind.BF16,
    }
    path = write_tiny(tmp_path / "m.gguf", Kind.Q4_K, kinds=kinds, general__file_type=15)
    assert plan_rewrite(check_gguf(path)).note == (
        "Converted 1 BF16 tensor to F32, 1 Q3_K tensor to Q8_0, 1 Q5_K tensor to Q8_0, "
        "because the engine does not read them."
    )


@pytest.mark.parametrize("kind", ENGINE_READS, ids=lambda kind: kind.name)
def test_a_file_that_the_engine_reads_stays_as_it_is(tmp_path: Path, kind: Kind) -> None:
    path = write_tiny(tmp_path / "m.gguf", kind, general__file_type=1 if kind is Kind.F16 else 7)
    plan = plan_rewrite(check_gguf(path))
    assert not plan.needed
    assert plan.note == ""


@pytest.mark.parametrize("kind", [Kind.I8, Kind.I32, Kind.Q8_K, Kind.Q8_1], ids=lambda kind: kind.name)
def test_types_that_are_no_weights_are_refused_by_name(tmp_path: Path, kind: Kind) -> None:
    name = "blk.0.ffn_up.weight"

    def change(writer: gguf.GGUFWriter) -> None:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        writer.add_tensor(name, np.zeros((512, HIDDEN // block * size), np.uint8), raw_dtype=kind)

    path = write_tiny(tmp_path / "m.gguf", change=change, leave_out=(name,))
    checked = check_gguf(path)
    with pytest.raises(ConversionError, match=name):
        rewrite(checked, plan_rewrite(checked), tmp_path / "new.gguf")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", Kind.Q5_0)
    content = bytearray(path.read_bytes())
    tensor = check_gguf(path).tensors["blk.1.attn_k.weight"]
    content[tensor.offset : tensor.offset + 2] = np.float16("nan").tobytes()
    path.write_bytes(content)
    checked = check_gguf(path)
    with pytest.raises(ConversionError, match=r"blk\.1\.attn_k\.weight holds numbers that are not finite"):
        rewrite(checked, plan_rewrite(checked), tmp_path / "new.gguf")


def test_the_memory_of_a_rewrite_does_not_grow_with_the_tensor(tmp_path: Path) -> None:
    """In a process of its own: 400 MB of float32, of which a few MB are held at once."""
    script = """
import resource, sys
from pathlib import Path
from gguf.constants import GGMLQuantizationType as Kind
import mmap
from host.convert.gguf_check import CheckedGguf
from host.convert.gguf_tensors import GgufTensor, size_of
from host.convert import gguf_rewrite
tensor = GgufTensor("t", (400_000, 256), Kind.Q5_0, 0, size_of(Kind.Q5_0, 400_000 * 256))
class Metadata:
    data = mmap.mmap(-1, tensor.size)
from concurrent.futures import ThreadPoolExecutor
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with ThreadPoolExecutor(2) as pool:
    written = sum(len(piece) for piece in gguf_rewrite._converted(Metadata, tensor, Kind.Q8_0, pool))
assert written == size_of(Kind.Q8_0, tensor.numbers)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before - tensor.size // 1024)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) < 400 * 1024, "KiB beyond the mapped source"


# --- with OpenVINO ------------------------------------------------------------------------------------------


def weights_of(folder: Path) -> list[np.ndarray]:
    """The matrices of an IR, expanded."""
    model = openvino.Core().read_model(folder / "openvino_model.xml")
    products = [node for node in model.get_ordered_ops() if node.get_type_name() == "MatMul"]
    found = [expanded(node.input_value(1).get_node()) for node in products]
    return [matrix for matrix in found if matrix is not None and matrix.ndim == 2]


def expanded(node) -> np.ndarray | None:
    operands = [node.input_value(number).get_node() for number in range(len(node.inputs()))]
    match node.get_type_name():
        case "Constant":
            return np.array(node.data, np.float32)
        case "Convert":
            return expanded(operands[0])
        case "Multiply" | "Subtract":
            first, second = map(expanded, operands)
            if first is None or second is None:
                return None
            return np.asarray(first * second if node.get_type_name() == "Multiply" else first - second)
        case "Reshape":
            matrix = expanded(operands[0])
            return None if matrix is None else matrix.reshape(node.get_output_shape(0))
    return None


@pytest.mark.parametrize("kind", [Kind.Q5_0, Kind.IQ3_XXS, Kind.BF16, Kind.F32], ids=lambda kind: kind.name)
def test_the_ir_has_the_numbers_of_the_file(tmp_path: Path, kind: Kind) -> None:
    source, folder = write_tiny(tmp_path / "m.gguf", kind, architecture="qwen2"), tmp_path / "ir"
    content = source.read_bytes()
    notes: list[str] = []
    folder.mkdir()
    convert_gguf(source, folder, notes.append)
    assert len(notes) == 1
    assert source.read_bytes() == content
    assert not (folder / "model.gguf").exists()
    checked, found = check_gguf(source), weights_of(folder)
    for name in ("blk.1.ffn_up.weight", "blk.0.attn_k.weight"):
        expected = numbers(checked, name)
        scale = np.abs(expected).max()
        assert any(
            matrix.shape == expected.shape and np.abs(matrix - expected).max() < scale / 100
            for matrix in found
        ), name


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"leave_out": ("general.file_type",)}, Kind.F16),
        ({"leave_out": ("general.file_type",)}, Kind.Q8_0),
        ({"general__file_type": 1}, Kind.Q8_0),
        ({"kinds": {"output_norm.weight": Kind.F16}}, Kind.F16),
    ],
    ids=str,
)
def test_what_the_engine_trips_over_is_mended(tmp_path: Path, changes: dict, kind: Kind) -> None:
    folder = tmp_path / "ir"
    folder.mkdir()
    convert_gguf(write_tiny(tmp_path / "m.gguf", kind, **changes), folder)
    assert (folder / "openvino_model.bin").stat().st_size > 0


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3"])
def test_a_file_without_types_of_tokens_answers(tmp_path: Path, architecture: str) -> None:
    source = write_tiny(
        tmp_path / "m.gguf", architecture=architecture, leave_out=("tokenizer.ggml.token_type",)
    )
    folder = tmp_path / "ir"
    folder.mkdir()
    convert_gguf(source, folder)
    pipeline = LLMPipeline(folder, "CPU")
    answer = pipeline.generate("the", max_new_tokens=4, ignore_eos=True)
    ids = pipeline.get_tokenizer().encode("a<|im_end|>the", add_special_tokens=False).input_ids.data
    assert ids.tolist() == [[64, len(vocabulary()) - 1, 257]]
    assert isinstance(answer, str)
    assert answer


def test_a_file_that_must_not_be_written_is_converted_from_a_copy(tmp_path: Path, monkeypatch) -> None:
    """The engine opens what it reads for writing."""
    source, folder = write_tiny(tmp_path / "m.gguf"), tmp_path / "ir"
    folder.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write any file
    seen = []

    def save(path: Path) -> None:
        seen.append((path.is_symlink(), path.read_bytes()[:4]))
        raise ConversionError("enough")

    monkeypatch.setattr("host.convert.gguf_model.save_with_genai", save)
    with pytest.raises(ConversionError, match="enough"):
        convert_gguf(source, folder)
    assert seen == [(False, b"GGUF")]
    assert not (folder / "model.gguf").exists()
