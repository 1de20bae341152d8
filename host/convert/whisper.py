"""Converts Whisper, from a folder of CTranslate2 or of Hugging Face, without PyTorch."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec

from host.convert.bert import Weight
from host.convert.ctranslate2 import WEIGHTS as CT2_WEIGHTS
from host.convert.documents import decode_document, read_document
from host.convert.errors import ConversionError
from host.convert.safetensors import read_safetensors
from host.convert.saving import check_room, check_saved
from host.convert.whisper_config import (
    CONFIG,
    GENERATION,
    PREPROCESSOR,
    GenerationFacts,
    WhisperConfig,
    generation_document,
    model_document,
    preprocessor_document,
)
from host.convert.whisper_ct2 import Ct2Config, generation_facts, read_ct2_weights
from host.convert.whisper_graph import DecoderBuilder, EncoderBuilder
from host.convert.whisper_tokenizer import (
    TOKENIZER,
    WhisperTokenizer,
    read_whisper_tokenizer,
    save_whisper_tokenizer,
)

_HF_WEIGHTS = "model.safetensors"
_VOICE_ACTIVITY = "silero_vad.onnx"  # copied if it is there

T = TypeVar("T")


class WhisperSource(NamedTuple):
    """A model that is not converted yet."""

    config: WhisperConfig
    weight: Weight
    tokenizer: WhisperTokenizer
    generation: GenerationFacts


def is_whisper_folder(folder: Path) -> bool:
    """Whether a folder holds Whisper in one of the two formats. Raises OSError."""
    if (folder / CT2_WEIGHTS).is_file():
        return True
    try:
        facts = _decode(folder, CONFIG, dict[str, Any])
    except ConversionError:
        return False
    return facts.get("model_type") == "whisper"


def convert_whisper(source: Path, folder: Path) -> None:
    """Write an IR folder: encoder, decoder, tokenizer, detokenizer, and the JSON files beside them. Matrices
    have 8 bits, all other weights 16.

    Raises ConversionError, OSError, RuntimeError.
    """
    is_ct2 = (source / CT2_WEIGHTS).is_file()
    model = _read_ct2(source) if is_ct2 else _read_hugging_face(source)
    check_room(folder, (source / (CT2_WEIGHTS if is_ct2 else _HF_WEIGHTS)).stat().st_size)
    _save(model, folder)
    if (source / _VOICE_ACTIVITY).is_file():
        shutil.copyfile(source / _VOICE_ACTIVITY, folder / _VOICE_ACTIVITY)
    check_saved(folder, "transcription")


def _read_ct2(folder: Path) -> WhisperSource:
    config, weight = read_ct2_weights(folder / CT2_WEIGHTS)
    tokenizer = read_whisper_tokenizer(read_document(folder, TOKENIZER))
    facts = _decode(folder, CONFIG, Ct2Config)
    return WhisperSource(config, weight, tokenizer, generation_facts(facts, tokenizer, config.vocab_size))


def _read_hugging_face(folder: Path) -> WhisperSource:
    if not (folder / _HF_WEIGHTS).is_file():
        raise ConversionError(f"{_HF_WEIGHTS} is missing")
    config = _decode(folder, CONFIG, WhisperConfig)
    tokenizer = read_whisper_tokenizer(read_document(folder, TOKENIZER))
    facts = _decode(folder, GENERATION, GenerationFacts)
    return WhisperSource(config, read_safetensors(folder / _HF_WEIGHTS).get, tokenizer, facts)


def _save(source: WhisperSource, folder: Path) -> None:
    import openvino

    config, tokenizer = source.config, source.tokenizer
    config.check()
    documents: dict[str, dict[str, Any]] = {
        CONFIG: model_document(config, tokenizer),
        GENERATION: generation_document(config, source.generation, tokenizer),
        PREPROCESSOR: preprocessor_document(config),
    }
    for name, content in documents.items():
        (folder / name).write_bytes(msgspec.json.format(msgspec.json.encode(content)))
    save_whisper_tokenizer(tokenizer, config.vocab_size, folder)
    for name, builder in (("encoder", EncoderBuilder), ("decoder", DecoderBuilder)):
        graph = builder(config, source.weight).build()
        openvino.save_model(graph, folder / f"openvino_{name}_model.xml", compress_to_fp16=False)


def _decode(folder: Path, name: str, kind: type[T]) -> T:
    return decode_document(read_document(folder, name), name, kind)
