"""Checks what a GGUF file says of its tokenizer, since native code reads it without any check."""

from host.convert.errors import EXPORT, ConversionError
from host.convert.gguf import GgufMetadata, damaged

_PREFIX = "tokenizer.ggml"
_BYTE_LEVEL = "gpt2"  # byte-level BPE
_UINT32, _INT32 = 4, 5
_IDS = ("bos", "eos", "eot", "eom", "padding", "unknown")
_READ_BY_ENGINE = ("bos", "eos", "padding", "unknown")


def check_vocabulary(metadata: GgufMetadata, rows: int) -> None:
    """`rows` is the number of embeddings. Raises ConversionError."""
    model = metadata.text(f"{_PREFIX}.model")
    if model is None:
        raise ConversionError("it holds no tokenizer", "get another GGUF file of this model")
    if model != _BYTE_LEVEL:
        what = "SentencePiece" if model == "llama" else repr(model[:40])
        raise ConversionError(f"its tokenizer ({what}) is not supported in GGUF files", EXPORT)
    tokens = metadata.count(f"{_PREFIX}.tokens") or 0
    if not 1 <= tokens <= rows:
        raise damaged(f"it has {tokens} tokens, but {rows} embeddings")
    if metadata.count(f"{_PREFIX}.merges") is None:
        raise damaged(f"the metadata lack {_PREFIX}.merges")
    if metadata.text(f"{_PREFIX}.pre") is None:
        raise ConversionError(f"{_PREFIX}.pre is missing", "get a newer GGUF file of this model")
    kinds = f"{_PREFIX}.token_type"
    if metadata.types.get(kinds) != _INT32 or len(metadata.integers(kinds)) != tokens:
        raise damaged(f"{kinds} does not hold one type for each token")
    for name in _IDS:
        _check_id(metadata, f"{_PREFIX}.{name}_token_id", tokens, strict=name in _READ_BY_ENGINE)


def _check_id(metadata: GgufMetadata, key: str, tokens: int, *, strict: bool) -> None:
    """`strict`: the engine reads it as an unsigned number of 32 bits."""
    if key not in metadata.types:
        return
    number = metadata.integer(key)
    if number is None or not 0 <= number < tokens or (strict and metadata.types[key] != _UINT32):
        raise damaged(f"{key} is no token")
