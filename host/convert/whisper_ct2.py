"""Reads Whisper in the format of CTranslate2 and faster-whisper: model.bin, config.json, tokenizer.json."""

import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from host.convert.bert import Weight
from host.convert.ctranslate2 import WEIGHTS, CTranslate2Model, read_ctranslate2
from host.convert.errors import DOWNLOAD_AGAIN, ConversionError
from host.convert.safetensors import Tensor
from host.convert.tokenizer_json import TokenId
from host.convert.whisper_config import GenerationFacts, WhisperConfig
from host.convert.whisper_tokenizer import WhisperTokenizer

_SPECIFICATION = "WhisperSpec"
_LANGUAGES_FROM = 51_865  # tokens of a model on: smaller ones know English only
_SEVERAL = re.compile(r"model\.(encoder|decoder)\.layers\.(\d+)\.(.+)\.(weight|bias)")
_ONE = re.compile(r"model\.(encoder|decoder)\.(.+)\.(weight|bias)")
_PARTS = {  # of a layer; several parts may be joined in one variable: place and count
    "self_attn_layer_norm": ("self_attention/layer_norm", 0, 1),
    "self_attn.q_proj": ("self_attention/linear_0", 0, 3),
    "self_attn.k_proj": ("self_attention/linear_0", 1, 3),
    "self_attn.v_proj": ("self_attention/linear_0", 2, 3),
    "self_attn.out_proj": ("self_attention/linear_1", 0, 1),
    "encoder_attn_layer_norm": ("attention/layer_norm", 0, 1),
    "encoder_attn.q_proj": ("attention/linear_0", 0, 1),
    "encoder_attn.k_proj": ("attention/linear_1", 0, 2),
    "encoder_attn.v_proj": ("attention/linear_1", 1, 2),
    "encoder_attn.out_proj": ("attention/linear_2", 0, 1),
    "final_layer_norm": ("ffn/layer_norm", 0, 1),
    "fc1": ("ffn/linear_0", 0, 1),
    "fc2": ("ffn/linear_1", 0, 1),
}
_OTHERS = {"embed_positions": "position_encodings/encodings", "embed_tokens": "embeddings/weight"}
_NORM = {"weight": "gamma", "bias": "beta"}


class Ct2Config(msgspec.Struct, frozen=True):
    """What a config.json of CTranslate2 says of Whisper."""

    suppress_ids: list[TokenId] = []
    suppress_ids_begin: list[TokenId] = []
    lang_ids: Annotated[list[TokenId], Meta(max_length=1_000)] = []
    alignment_heads: list[tuple[int, int]] = []


def read_ct2_weights(path: Path) -> tuple[WhisperConfig, Weight]:
    """The dimensions and the weights of a model.bin. Raises ConversionError, OSError."""
    model = read_ctranslate2(path)
    if model.specification != _SPECIFICATION:
        raise ConversionError(
            f"{WEIGHTS} holds a model of the kind {model.specification[:40]!r}; only Whisper is supported"
        )
    return _dimensions(model), lambda name, shape: _tensor(model, name, shape)


def generation_facts(facts: Ct2Config, tokenizer: WhisperTokenizer, size: int) -> GenerationFacts:
    """How a model with `size` tokens generates. Raises ConversionError."""
    languages = {tokenizer.text(number): number for number in facts.lang_ids}
    return GenerationFacts(
        suppress_tokens=facts.suppress_ids,
        begin_suppress_tokens=facts.suppress_ids_begin,
        lang_to_id=languages if size >= _LANGUAGES_FROM else {},
        alignment_heads=facts.alignment_heads,
    )


def _dimensions(model: CTranslate2Model) -> WhisperConfig:
    """Raises ConversionError."""
    convolution = _sizes(model, "encoder/conv1/weight", 3)
    tokens = _sizes(model, "decoder/embeddings/weight", 2)
    layers = {side: _layers(model, side) for side in ("encoder", "decoder")}
    inner = {side: _sizes(model, f"{side}/layer_0/ffn/linear_0/weight", 2)[0] for side in layers}
    facts = {
        "vocab_size": tokens[0],
        "num_mel_bins": convolution[1],
        "d_model": convolution[0],
        "max_source_positions": _sizes(model, "encoder/position_encodings/encodings", 2)[0],
        "max_target_positions": _sizes(model, "decoder/position_encodings/encodings", 2)[0],
    }
    for side in layers:
        facts[f"{side}_layers"] = layers[side]
        facts[f"{side}_attention_heads"] = model.whole(f"{side}/num_heads")
        facts[f"{side}_ffn_dim"] = inner[side]
    try:
        return msgspec.convert(facts, WhisperConfig)
    except msgspec.ValidationError as error:
        raise ConversionError(f"{WEIGHTS} is damaged: {error}", DOWNLOAD_AGAIN) from error


def _layers(model: CTranslate2Model, side: str) -> int:
    found = [re.match(rf"{side}/layer_(\d+)/ffn/linear_0/weight\Z", name) for name in model.names]
    return len([match for match in found if match])


def _sizes(model: CTranslate2Model, name: str, rank: int) -> tuple[int, ...]:
    shape = model.shape(name)
    if len(shape) != rank:
        raise ConversionError(f"{WEIGHTS} is damaged: {name} has the shape {list(shape)}", DOWNLOAD_AGAIN)
    return shape


def _tensor(model: CTranslate2Model, name: str, shape: tuple[int, ...]) -> Tensor:
    """A tensor by its name in a Hugging Face folder, f32 [*shape]. Raises ConversionError."""
    variable, place, count = _variable(name)
    whole = (shape[0] * count, *shape[1:])
    if (found := model.shape(variable)) != whole:
        raise ConversionError(
            f"{WEIGHTS}: the variable {variable} has the shape {list(found)}, not {list(whole)}",
            DOWNLOAD_AGAIN,
        )
    return model.get(variable)[place * shape[0] : (place + 1) * shape[0]]


def _variable(name: str) -> tuple[str, int, int]:
    """The variable that holds a tensor, the tensor's place in it, and how many it holds."""
    if match := _SEVERAL.fullmatch(name):
        side, number, part, kind = match.groups()
        variable, place, count = _PARTS[part]
        kind = _NORM[kind] if variable.endswith("layer_norm") else kind
        return f"{side}/layer_{number}/{variable}/{kind}", place, count
    match = _ONE.fullmatch(name)
    assert match is not None, name
    side, part, kind = match.groups()
    kind = _NORM[kind] if part == "layer_norm" else kind
    return f"{side}/{_OTHERS.get(part, f'{part}/{kind}')}", 0, 1
