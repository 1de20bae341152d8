"""What the JSON files beside a Whisper model say, and how they are written."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from host.convert.errors import ConversionError
from host.convert.tokenizer_json import TokenId
from host.convert.whisper_tokenizer import WhisperTokenizer

CONFIG = "config.json"
GENERATION = "generation_config.json"
PREPROCESSOR = "preprocessor_config.json"
_SAMPLE_RATE = 16_000
_HOP = 160  # samples between two frames of features
_FRAMES_PER_POSITION = 2
_FOURIER = 400  # samples
_FIRST_TIME = 50  # the last token of time that a window may begin with: one second

_Layers = Annotated[int, Meta(ge=1, le=200)]
_Heads = Annotated[int, Meta(ge=1, le=1_000)]
_Size = Annotated[int, Meta(ge=1, le=1_000_000)]


class WhisperConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The model's dimensions, in the terms of a config.json of Hugging Face's transformers."""

    model_type: Literal["whisper"] = "whisper"
    vocab_size: _Size
    num_mel_bins: Annotated[int, Meta(ge=1, le=1_000)]
    d_model: _Size
    encoder_layers: _Layers
    encoder_attention_heads: _Heads
    encoder_ffn_dim: _Size
    decoder_layers: _Layers
    decoder_attention_heads: _Heads
    decoder_ffn_dim: _Size
    max_source_positions: _Size = 1500  # encoded frames of a window, 20 ms each
    max_target_positions: _Size = 448  # tokens
    activation_function: Literal["gelu"] = "gelu"
    scale_embedding: Literal[False] = False

    def check(self) -> None:
        """Raise ConversionError for numbers that do not fit together."""
        for heads in ("encoder_attention_heads", "decoder_attention_heads"):
            if self.d_model % getattr(self, heads):
                raise ConversionError(f"d_model is not a multiple of {heads}")


class GenerationFacts(msgspec.Struct, frozen=True):
    """How a model generates, in the terms of a generation_config.json."""

    suppress_tokens: list[TokenId] | None = None
    begin_suppress_tokens: list[TokenId] | None = None
    lang_to_id: dict[str, TokenId] = {}  # such as <|en|>; empty for a model of English only
    alignment_heads: list[tuple[int, int]] = []  # layer and head whose attention follows the audio


def model_document(config: WhisperConfig, tokenizer: WhisperTokenizer) -> dict[str, Any]:
    """A config.json. Raises ConversionError."""
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "is_encoder_decoder": True,
        **msgspec.to_builtins(config),
        **_roles(tokenizer),
    }


def generation_document(
    config: WhisperConfig, facts: GenerationFacts, tokenizer: WhisperTokenizer
) -> dict[str, Any]:
    """A generation_config.json. Raises ConversionError."""
    _check_tokens(config, facts)
    multilingual = bool(facts.lang_to_id)
    document = {
        **_roles(tokenizer),
        "max_length": config.max_target_positions,
        "is_multilingual": multilingual,
        "no_timestamps_token_id": tokenizer.id("<|notimestamps|>"),
        "prev_sot_token_id": tokenizer.id("<|startofprev|>"),
        "max_initial_timestamp_index": _FIRST_TIME,
        "suppress_tokens": facts.suppress_tokens or [],
        "begin_suppress_tokens": facts.begin_suppress_tokens or [],
        "alignment_heads": _alignment_heads(config, facts),
        "return_timestamps": False,
    }
    if multilingual:
        document["lang_to_id"] = facts.lang_to_id
        document["task_to_id"] = {task: tokenizer.id(f"<|{task}|>") for task in ("transcribe", "translate")}
    return document


def preprocessor_document(config: WhisperConfig) -> dict[str, Any]:
    """A preprocessor_config.json."""
    frames = config.max_source_positions * _FRAMES_PER_POSITION
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": config.num_mel_bins,
        "sampling_rate": _SAMPLE_RATE,
        "hop_length": _HOP,
        "n_fft": _FOURIER,
        "chunk_length": frames * _HOP // _SAMPLE_RATE,
        "n_samples": frames * _HOP,
        "nb_max_frames": frames,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }


def _roles(tokenizer: WhisperTokenizer) -> dict[str, int]:
    end = tokenizer.id("<|endoftext|>")
    start = tokenizer.id("<|startoftranscript|>")
    return {"decoder_start_token_id": start} | {f"{role}_token_id": end for role in ("bos", "eos", "pad")}


def _check_tokens(config: WhisperConfig, facts: GenerationFacts) -> None:
    """Raise ConversionError for one that does not exist: native code would write outside of a tensor."""
    listed = {
        "suppress_tokens": facts.suppress_tokens or [],
        "begin_suppress_tokens": facts.begin_suppress_tokens or [],
        "lang_to_id": facts.lang_to_id.values(),
    }
    for name, tokens in listed.items():
        if (largest := max(tokens, default=0)) >= config.vocab_size:
            raise ConversionError(f"{name}: the model has no token {largest}")


def _alignment_heads(config: WhisperConfig, facts: GenerationFacts) -> list[tuple[int, int]]:
    """The model's own, or all heads of the upper half, as the original implementation has it.

    Raises ConversionError for one that does not exist: native code would read outside of a tensor.
    """
    layers, heads = range(config.decoder_layers), range(config.decoder_attention_heads)
    for layer, head in facts.alignment_heads:
        if layer not in layers or head not in heads:
            raise ConversionError(f"alignment_heads: the model has no head {head} in layer {layer}")
    upper = layers[config.decoder_layers // 2 :]
    return facts.alignment_heads or [(layer, head) for layer in upper for head in heads]
