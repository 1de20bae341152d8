"""safetensors files: what is read, and that bad ones end in a clear error."""

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host.convert.errors import ConversionError
from host.convert.safetensors import Safetensors, read_safetensors

VALUES = np.arange(6, dtype=np.float32).reshape(2, 3) - 2.5


def file_of(header: Any, data: bytes) -> bytes:
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data


def entry(dtype: str, data: bytes, shape: tuple[int, ...] = (2, 3)) -> bytes:
    return file_of({"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}, data)


BFLOAT16 = (VALUES.view(np.uint32) >> 16).astype(np.uint16).tobytes()
GOOD = entry("F32", VALUES.tobytes())


@pytest.mark.parametrize(
    ("dtype", "data"),
    [
        ("F32", VALUES.tobytes()),
        ("F64", VALUES.astype(np.float64).tobytes()),
        ("F16", VALUES.astype(np.float16).tobytes()),
        ("BF16", BFLOAT16),
    ],
)
def test_floats_of_each_type_become_float32(dtype: str, data: bytes) -> None:
    found = Safetensors(entry(dtype, data)).get("w", (2, 3))
    assert found.dtype == np.float32
    assert (found == VALUES).all()


def test_several_tensors_and_metadata(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [24, 28]},
        "a": {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]},
    }
    (tmp_path / "m.safetensors").write_bytes(file_of(header, VALUES.tobytes() + struct.pack("<f", 7)))
    tensors = read_safetensors(tmp_path / "m.safetensors")
    assert tensors.names == {"a", "b"}
    assert tensors.get("b", (1,)).tolist() == [7]
    assert (tensors.get("a", (6,)) == VALUES.ravel()).all()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a safetensors file"),
        (b"1234567", "not a safetensors file"),
        (struct.pack("<Q", 2**63), "not a safetensors file"),
        (struct.pack("<Q", 3) + b"{}", "not a safetensors file"),
        (struct.pack("<Q", 2) + b"{{", "header of the safetensors file is damaged"),
        (file_of({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"1234"), "damaged"),
        (file_of({"w": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, b"1234"), "damaged"),
        (file_of({"w": []}, b""), "damaged"),
        (
            file_of({"v": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}, b"0" * 24),
            "w is missing",
        ),
        (entry("F32", VALUES.tobytes(), (3, 2)), r"w has the shape \[3, 2\], not \[2, 3\]"),
        (entry("I64", VALUES.tobytes() * 2), "w has the type I64, which is not supported"),
        (entry("F16", VALUES.tobytes()), "w does not fit its place"),
        (
            GOOD[:-1],
            rf"the safetensors file is incomplete: it has {len(GOOD) - 1} of {len(GOOD)} bytes; download",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1",
            "not a safetensors file but a pointer of Git LFS; fetch",
        ),
        (b"<!DOCTYPE html><html>", "not a safetensors file but a web page; download the file itself"),
        (b"GGUF" + bytes(60), "not a safetensors file but a GGUF file; give that file"),
        (
            file_of({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 0]}}, VALUES.tobytes()),
            "w does not fit its place",
        ),
        (
            file_of({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [2**40, 2**40 + 24]}}, b""),
            "the safetensors file is incomplete",
        ),
    ],
)
def test_a_broken_file_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ConversionError, match=reason):
        Safetensors(data).get("w", (2, 3))


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=9))
def test_a_damaged_file_raises_nothing_else(at: int, damage: bytes) -> None:
    with contextlib.suppress(ConversionError):
        assert Safetensors(GOOD[:at] + damage + GOOD[at + len(damage) :]).get("w", (2, 3)).shape == (2, 3)
