"""A random Whisper of a few kilobytes: as a folder of CTranslate2, and as one of Hugging Face."""

import json
import string
import struct
from pathlib import Path
from typing import Any

import numpy as np

from tests.host.convert.tiny import safetensors

SIDES = ("encoder", "decoder")
WIDTH, HEADS, MELS, FRAMES = 16, 2, 8, 50
_LAYERS, _INNER, _POSITIONS = 2, 32, 24
_WORDS = ["Ġ", *string.ascii_lowercase, "he", "Ġhe"]
_MERGES = ["h e", "Ġ he"]
_SPECIAL = ["endoftext", "startoftranscript", "en", "de"]
_SPECIAL += ["translate", "transcribe", "startofprev", "notimestamps"]
_TIMES = 11
LANGUAGES = {"<|en|>": len(_WORDS) + 2, "<|de|>": len(_WORDS) + 3}
SIZE = len(_WORDS) + len(_SPECIAL) + _TIMES
_TYPES = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}

Tensors = dict[str, np.ndarray]


def weights() -> Tensors:
    """Hugging Face's names → values."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.encoder.conv1.weight": (WIDTH, MELS, 3),
        "model.encoder.conv2.weight": (WIDTH, WIDTH, 3),
        "model.encoder.embed_positions.weight": (FRAMES, WIDTH),
        "model.decoder.embed_positions.weight": (_POSITIONS, WIDTH),
        "model.decoder.embed_tokens.weight": (SIZE, WIDTH),
    }
    shapes |= {f"model.encoder.conv{number}.bias": (WIDTH,) for number in (1, 2)}
    for side in SIDES:
        shapes |= _norm(f"model.{side}.layer_norm")
        for layer in range(_LAYERS):
            shapes |= _layer(f"model.{side}.layers.{layer}", side)
    random = np.random.default_rng(11)
    return {name: random.normal(0, 0.3, shape).astype(np.float16) for name, shape in shapes.items()}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.{kind}": (WIDTH,) for kind in ("weight", "bias")}


def _layer(name: str, side: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = _norm(f"{name}.final_layer_norm")
    shapes |= {f"{name}.fc1.weight": (_INNER, WIDTH), f"{name}.fc1.bias": (_INNER,)}
    shapes |= {f"{name}.fc2.weight": (WIDTH, _INNER), f"{name}.fc2.bias": (WIDTH,)}
    for attention in ("self_attn", "encoder_attn")[: 1 + (side == "decoder")]:
        shapes |= _norm(f"{name}.{attention}_layer_norm")
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{name}.{attention}.{part}.weight"] = (WIDTH, WIDTH)
            if part != "k_proj":
                shapes[f"{name}.{attention}.{part}.bias"] = (WIDTH,)
    return shapes


def write_hugging_face(folder: Path, tensors: Tensors | None = None, **generation: Any) -> Path:
    """`generation` replaces fields of generation_config.json."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(
        safetensors({name: values.astype(np.float32) for name, values in (tensors or weights()).items()})
    )
    config = {
        "model_type": "whisper",
        "architectures": ["WhisperForConditionalGeneration"],
        "vocab_size": SIZE,
        "num_mel_bins": MELS,
        "d_model": WIDTH,
        "max_source_positions": FRAMES,
        "max_target_positions": _POSITIONS,
    }
    for side in SIDES:
        config |= {f"{side}_layers": _LAYERS, f"{side}_attention_heads": HEADS, f"{side}_ffn_dim": _INNER}
    facts = {"suppress_tokens": [1, 2], "begin_suppress_tokens": [0], "lang_to_id": LANGUAGES} | generation
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps(facts))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    return folder


def write_ct2(folder: Path, content: bytes | None = None, **config: Any) -> Path:
    """`content` replaces model.bin; `config` replaces fields of config.json."""
    folder.mkdir()
    (folder / "model.bin").write_bytes(model_bin(variables()) if content is None else content)
    facts = {"suppress_ids": [1, 2], "suppress_ids_begin": [0], "lang_ids": [*LANGUAGES.values()]} | config
    (folder / "config.json").write_text(json.dumps(facts))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer()))
    return folder


def tokenizer() -> dict[str, Any]:
    """What a tokenizer.json holds. The tokens of times are left out, as CTranslate2's converter does."""
    return {
        "added_tokens": [
            {"id": len(_WORDS) + place, "content": f"<|{name}|>", "special": True}
            for place, name in enumerate(_SPECIAL)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        "model": {
            "type": "BPE",
            "vocab": {word: number for number, word in enumerate(_WORDS)},
            "merges": list(_MERGES),
        },
    }


# --- CTranslate2 ------------------------------------------------------------------------------------------


def variables() -> Tensors:
    """The same values by CTranslate2's names."""
    source = weights()
    found: Tensors = {f"{side}/num_heads": np.array(HEADS, np.int16) for side in SIDES}
    found |= {
        f"encoder/{name}/{kind}": source[f"model.encoder.{name}.{kind}"] for name, kind in _CONVOLUTIONS
    }
    found["decoder/embeddings/weight"] = source["model.decoder.embed_tokens.weight"]
    for side in SIDES:
        found[f"{side}/position_encodings/encodings"] = source[f"model.{side}.embed_positions.weight"]
        found |= _renamed(source, {f"model.{side}.layer_norm": f"{side}/layer_norm"})
        for layer in range(_LAYERS):
            found |= _layer_variables(source, f"model.{side}.layers.{layer}", f"{side}/layer_{layer}")
    return found


_CONVOLUTIONS = [(f"conv{number}", kind) for number in (1, 2) for kind in ("weight", "bias")]


def _layer_variables(source: Tensors, name: str, to: str) -> Tensors:
    names = {f"{name}.fc1": f"{to}/ffn/linear_0", f"{name}.fc2": f"{to}/ffn/linear_1"}
    names |= {
        f"{name}.self_attn.out_proj": f"{to}/self_attention/linear_1",
        f"{name}.encoder_attn.q_proj": f"{to}/attention/linear_0",
        f"{name}.encoder_attn.out_proj": f"{to}/attention/linear_2",
        f"{name}.self_attn_layer_norm": f"{to}/self_attention/layer_norm",
        f"{name}.encoder_attn_layer_norm": f"{to}/attention/layer_norm",
        f"{name}.final_layer_norm": f"{to}/ffn/layer_norm",
    }
    found = _renamed(source, names)
    for attention, parts, variable in (
        ("self_attn", "qkv", "self_attention/linear_0"),
        ("encoder_attn", "kv", "attention/linear_1"),
    ):
        if f"{name}.{attention}.q_proj.weight" in source:
            for kind in ("weight", "bias"):
                joined = [
                    source.get(f"{name}.{attention}.{part}_proj.{kind}", np.zeros(WIDTH, np.float16))
                    for part in parts
                ]
                found[f"{to}/{variable}/{kind}"] = np.concatenate(joined)
    return found


def _renamed(source: Tensors, names: dict[str, str]) -> Tensors:
    return {
        f"{to}/{ {'weight': 'gamma', 'bias': 'beta'}[kind] if to.endswith('norm') else kind }": source[
            f"{name}.{kind}"
        ]
        for name, to in names.items()
        for kind in ("weight", "bias")
        if f"{name}.{kind}" in source
    }


def model_bin(named: Tensors, specification: str = "WhisperSpec") -> bytes:
    """The content of a model.bin."""
    parts = [struct.pack("<I", 6), _text(specification), struct.pack("<II", 3, len(named))]
    for name, values in named.items():
        content = values.tobytes()
        sizes = struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        parts += [_text(name), sizes, struct.pack("<BI", _TYPES[values.dtype.name], len(content)), content]
    return b"".join([*parts, struct.pack("<I", 0)])


def _text(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"
