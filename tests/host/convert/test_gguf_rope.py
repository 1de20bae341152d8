"""Positions of models from GGUF files: the engine's logits equal those of a reference in numpy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import openvino
import pytest

from host.convert.errors import ConversionError
from host.convert.gguf_check import check_gguf
from host.convert.gguf_model import convert_gguf, describe
from host.convert.rope_constants import save_rotation
from tests.exact import EXACT
from tests.host.convert.tiny_gguf import HEAD, HEADS, HIDDEN, KV_HEADS, LAYERS, shapes, vocabulary, write_tiny

Weights = dict[str, np.ndarray]
BASE = 500_000.0
PLAIN = BASE ** (-np.arange(0, HEAD, 2) / HEAD)
LLAMA3 = np.geomspace(1, 32, HEAD // 2)  # as Llama 3.2 has them: high frequencies stay
TOKENS = np.random.default_rng(2).integers(0, 256, 48)
NEAR = np.arange(48)
FAR = np.sort(np.random.default_rng(3).choice(20_000, 48, replace=False))
SAME = 1e-3  # of logits whose standard deviation is 1


def weights() -> Weights:
    """Attention that depends on positions: queries and keys are large."""
    random = np.random.default_rng(1)
    found = {}
    for name, shape in shapes().items():
        scale = 2.0 if "attn_q" in name or "attn_k" in name else 1.0
        found[name] = (
            np.ones(shape, np.float32)
            if len(shape) == 1
            else (scale * random.standard_normal(shape) / shape[1] ** 0.5).astype(np.float16)
        )
    return found


def write(
    path: Path, factors: np.ndarray | None = None, architecture: str = "llama", **metadata: Any
) -> Path:
    def change(writer: gguf.GGUFWriter) -> None:
        for name, weight in weights().items():
            writer.add_tensor(name, weight)
        if factors is not None:
            writer.add_tensor("rope_freqs.weight", factors.astype(np.float32))

    metadata[f"{architecture}__rope__freq_base"] = BASE
    metadata[f"{architecture}__context_length"] = 131_072
    return write_tiny(path, change=change, leave_out=tuple(shapes()), architecture=architecture, **metadata)


def reference(frequencies: np.ndarray, positions: np.ndarray, *, neighbours: bool) -> np.ndarray:
    """Logits [tokens, vocabulary] of a Llama in float64, but for the angles.

    The files of Llama rotate dimensions 2i and 2i + 1 together (`neighbours`), those of Qwen i and i + d/2.
    """
    weight = {name: value.astype(np.float64) for name, value in weights().items()}
    angles = positions[:, None].astype(np.float32) * frequencies.astype(np.float32)  # as all engines do
    turn = np.exp(1j * angles.astype(np.float64))[:, None]  # [tokens, 1, head / 2]

    def rotated(vectors: np.ndarray) -> np.ndarray:
        pairs = (
            vectors.reshape(*vectors.shape[:-1], -1, 2)
            if neighbours
            else np.stack(np.split(vectors, 2, axis=-1), axis=-1)
        )
        turned = (pairs[..., 0] + 1j * pairs[..., 1]) * turn
        return np.concatenate([turned.real, turned.imag], axis=-1)

    def linear(vectors: np.ndarray, name: str) -> np.ndarray:
        return vectors @ weight[f"{name}.weight"].T

    hidden = weight["token_embd.weight"][TOKENS]
    future = np.triu(np.full((len(TOKENS),) * 2, -np.inf), 1)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        inner = normalized(hidden)
        query = rotated(linear(inner, f"{block}.attn_q").reshape(-1, HEADS, HEAD))
        key = rotated(linear(inner, f"{block}.attn_k").reshape(-1, KV_HEADS, HEAD))
        value = linear(inner, f"{block}.attn_v").reshape(-1, KV_HEADS, HEAD)
        key, value = (np.repeat(part, HEADS // KV_HEADS, axis=1) for part in (key, value))
        scores = np.einsum("qhd,khd->hqk", query, key) / HEAD**0.5 + future
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        attended = np.einsum("hqk,khd->qhd", shares, value).reshape(-1, HIDDEN)
        hidden = hidden + linear(attended, f"{block}.attn_output")
        inner = normalized(hidden)
        gate = linear(inner, f"{block}.ffn_gate")
        gated = gate / (1 + np.exp(-gate)) * linear(inner, f"{block}.ffn_up")
        hidden = hidden + linear(gated, f"{block}.ffn_down")
    return linear(normalized(hidden), "token_embd")


def normalized(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.sqrt((vectors**2).mean(axis=-1, keepdims=True) + 1e-5))


def converted(source: Path, note: Callable[[str], None] = print) -> Path:
    folder = source.parent / "ir"
    folder.mkdir()
    convert_gguf(source, folder, note)
    return folder


def logits(folder: Path, positions: np.ndarray) -> np.ndarray:
    request = (
        openvino.Core().compile_model(folder / "openvino_model.xml", "CPU", EXACT).create_infer_request()
    )
    inputs = {
        "input_ids": TOKENS[None],
        "attention_mask": np.ones((1, len(TOKENS)), np.int64),
        "position_ids": positions[None],
        "beam_idx": np.zeros(1, np.int32),
    }
    return np.asarray(request.infer(inputs)["logits"][0])


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max())


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
@pytest.mark.parametrize(
    ("factors", "metadata", "divisor"),
    [
        (None, {}, 1),
        (LLAMA3, {}, LLAMA3),
        (None, {"scaling__type": "linear", "scaling__factor": 4.0}, 4),
        (None, {"scaling__factor": 4.0}, 4),
        (None, {"scale_linear": 8.0}, 8),
        (None, {"scaling__type": "none", "scaling__factor": 4.0}, 1),
        (LLAMA3, {"scaling__type": "linear", "scaling__factor": 2.0}, 2 * LLAMA3),
    ],
    ids=str,
)
def test_positions_are_those_of_the_training(
    factors: np.ndarray | None,
    metadata: dict[str, Any],
    divisor: Any,
    architecture: str,
    tmp_path: Path,
) -> None:
    metadata = {f"{architecture}__rope__{name}": value for name, value in metadata.items()}
    folder = converted(write(tmp_path / "m.gguf", factors, architecture, **metadata))
    neighbours = architecture == "llama"
    for positions in (NEAR, FAR):
        found = logits(folder, positions)
        assert difference(found, reference(PLAIN / divisor, positions, neighbours=neighbours)) < SAME
        if np.max(divisor) > 1:
            plain = reference(PLAIN, positions, neighbours=neighbours)
            assert difference(found, plain) > 100 * SAME


def test_the_engine_alone_ignores_the_factors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once this fails, so that the engine is right by itself, the replacement can go."""
    monkeypatch.setattr("host.convert.gguf_model.save_rotation", lambda xml, rotation: None)
    folder = converted(write(tmp_path / "m.gguf", LLAMA3))
    near = logits(folder, NEAR)
    assert difference(near, reference(PLAIN, NEAR, neighbours=True)) < 10 * SAME
    assert difference(near, reference(PLAIN / LLAMA3, NEAR, neighbours=True)) > 100 * SAME
    assert difference(logits(folder, FAR), reference(PLAIN, FAR, neighbours=True)) > 100 * SAME


def test_an_ir_without_the_frequencies_is_an_error(tmp_path: Path) -> None:
    source = write(tmp_path / "m.gguf")
    folder = converted(source)
    other = check_gguf(source).rotation._replace(plain=PLAIN * 2)
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ConversionError, match="no rotary frequencies"):
        save_rotation(folder / "openvino_model.xml", other)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == content


# --- what is not applied ------------------------------------------------------------------------------------


def test_yarn_limits_the_context_to_the_original_one(tmp_path: Path) -> None:
    yarn: dict[str, Any] = {
        "scaling__type": "yarn",
        "scaling__factor": 4.0,
        "scaling__original_context_length": 32768,
    }
    source = write(tmp_path / "m.gguf", **{f"llama__rope__{name}": value for name, value in yarn.items()})
    notes: list[str] = []
    folder = converted(source, notes.append)
    assert notes == ["Its YaRN scaling is not applied: the context is 32768 tokens."]
    assert describe(check_gguf(source).metadata)["config.json"]["max_position_embeddings"] == 32768
    assert difference(logits(folder, FAR), reference(PLAIN, FAR, neighbours=True)) < SAME


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"scaling__type": "longrope"}, "its position scaling 'longrope' is not supported in GGUF files"),
        ({"scaling__type": "klingon"}, "its position scaling 'klingon' is not supported"),
        ({"scaling__type": 7}, "its position scaling '7' is not supported"),
        ({"scaling__type": "yarn", "scaling__finetuned": True}, "its position scaling 'yarn' is not"),
        ({"scaling__factor": 0.0}, r"llama\.rope\.scaling\.factor is no valid number"),
        ({"scaling__factor": float("nan")}, r"llama\.rope\.scaling\.factor is no valid number"),
        ({"scaling__factor": "four"}, r"llama\.rope\.scaling\.factor is no valid number"),
        ({"scaling__factor": 2.0, "scaling__attn_factor": 1.2}, "scaling.attn_factor is not supported"),
        ({"dimension_count": HEAD // 2}, "it rotates 32 of 64 dimensions"),
    ],
    ids=str,
)
def test_scaling_that_is_not_supported_is_named(
    metadata: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    metadata = {f"llama__rope__{name}": value for name, value in metadata.items()}
    with pytest.raises(ConversionError, match=reason):
        check_gguf(write(tmp_path / "m.gguf", **metadata))


@pytest.mark.parametrize(
    "factors",
    [np.ones(HEAD), np.ones(HEAD // 2 - 1), np.zeros(HEAD // 2), np.full(HEAD // 2, np.nan), -LLAMA3],
    ids=["long", "short", "zero", "nan", "negative"],
)
def test_factors_that_cannot_be_are_damage(factors: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"damaged: the tensor rope_freqs\.weight"):
        check_gguf(write(tmp_path / "m.gguf", factors))


def test_factors_that_depend_on_the_length_are_not_supported(tmp_path: Path) -> None:
    def change(writer: gguf.GGUFWriter) -> None:
        writer.add_tensor("rope_factors_long.weight", np.ones(HEAD // 2, np.float32))

    with pytest.raises(ConversionError, match="'longrope' is not supported"):
        check_gguf(write_tiny(tmp_path / "m.gguf", change=change))


def test_the_tokens_of_the_tests_exist() -> None:
    assert TOKENS.max() < len(vocabulary())
