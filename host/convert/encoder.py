"""Converts sentence encoders and cross-encoders, BERT or XLM-RoBERTa, without PyTorch."""

from pathlib import Path
from typing import Any, NamedTuple

from host.convert.bert import BertBuilder, BertConfig, Weight
from host.convert.documents import decode_document, read_document
from host.convert.errors import ConversionError
from host.convert.safetensors import Safetensors, read_safetensors
from host.convert.tokenizer import build_tokenizer
from host.convert.tokenizer_json import TokenizerJson, read_tokenizer_json

WEIGHTS = "model.safetensors"
_CONFIG = "config.json"
_TOKENIZER = "tokenizer.json"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_COPIED = (  # what engines and Hugging Face's libraries read beside the IR
    _CONFIG,
    _TOKENIZER,
    _TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "vocab.txt",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)
_PREFIXES = ("", "bert.", "roberta.")  # of a tensor's name


class EncoderSource(NamedTuple):
    """An encoder that is not converted yet."""

    config: BertConfig
    weight: Weight
    tokenizer: TokenizerJson
    pad_token: str
    max_length: int  # tokens
    files: dict[str, bytes]  # to be written beside the IR: path in the folder → content


def save_encoder(source: EncoderSource, folder: Path, builder: type[BertBuilder] = BertBuilder) -> None:
    """Write the IR of model and tokenizer, and the files beside it. The weights are compressed to float16, as
    Optimum's export does.

    Raises ConversionError, OSError, RuntimeError.
    """
    import openvino

    texts = 2 if source.config.is_classifier else 1
    max_length = min(source.max_length, source.config.window)
    tokenizer = build_tokenizer(source.tokenizer, source.pad_token, max_length, texts)
    openvino.save_model(tokenizer, folder / "openvino_tokenizer.xml", compress_to_fp16=False)
    model = builder(source.config, source.weight).build()
    openvino.save_model(model, folder / "openvino_model.xml", compress_to_fp16=True)
    for name, content in source.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def read_encoder_folder(path: Path) -> EncoderSource:
    """A folder as on Hugging Face's hub. Raises ConversionError, OSError."""
    files = {name: read_document(path, name) for name in _COPIED if (path / name).is_file()}
    for name in (_CONFIG, _TOKENIZER, WEIGHTS):
        if not (path / name).is_file():
            raise ConversionError(f"{name} is missing")
    facts = decode_document(files.get(_TOKENIZER_CONFIG, b"{}"), _TOKENIZER_CONFIG, dict[str, Any])
    tensors = read_safetensors(path / WEIGHTS)
    return EncoderSource(
        config=read_config(files[_CONFIG]),
        weight=lambda name, shape: tensors.get(_stored_name(tensors, name), shape),
        tokenizer=read_tokenizer_json(files[_TOKENIZER]),
        pad_token=_token(facts.get("pad_token")) or "[PAD]",
        max_length=_length(facts.get("model_max_length")),
        files=files,
    )


def read_config(content: bytes) -> BertConfig:
    """Raises ConversionError naming the field at fault."""
    return decode_document(content, _CONFIG, BertConfig)


def _stored_name(tensors: Safetensors, name: str) -> str:
    """The name in the file of one tensor, which depends on who saved it, and when."""
    older = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    spellings = (prefix + base for prefix in _PREFIXES for base in (name, older))
    return next((spelling for spelling in spellings if spelling in tensors.names), name)


def _token(value: object) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _length(value: object) -> int:
    """A tokenizer without a limit of its own states 10**30, or nothing."""
    return int(value) if isinstance(value, int | float) and 1 <= value < 2**31 else 2**31 - 1
