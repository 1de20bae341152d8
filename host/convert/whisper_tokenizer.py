"""The tokenizer of Whisper: a byte-level vocabulary, special tokens, and one token for each 20 ms of audio.

Texts never become special tokens, whatever they contain: engines add those that they need.
"""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from host.convert.bpe import Merge, Vocabulary
from host.convert.byte_level import to_bytes
from host.convert.documents import decode_document
from host.convert.errors import ConversionError
from host.convert.pre_tokenizers import PRE_TOKENIZERS
from host.convert.tokenizer_graph import Steps, build_detokenizer, build_tokenizer
from host.convert.tokenizer_json import AddedToken, TokenId

TOKENIZER = "tokenizer.json"
_END, _NO_TIMES = "<|endoftext|>", "<|notimestamps|>"
_SECONDS_PER_TOKEN = 0.02
_MAX_TOKENS = 2**20


class _Bpe(msgspec.Struct, frozen=True, tag_field="type", tag="BPE"):
    vocab: Annotated[dict[str, TokenId], Meta(min_length=1, max_length=_MAX_TOKENS)]
    merges: Annotated[list[str | tuple[str, str]], Meta(min_length=1, max_length=_MAX_TOKENS)]


class _ByteLevel(msgspec.Struct, frozen=True, tag_field="type", tag="ByteLevel"):
    add_prefix_space: Literal[False] = False
    use_regex: Literal[True] = True


class WhisperTokenizer(msgspec.Struct, frozen=True):
    """What is used of a tokenizer.json."""

    model: _Bpe
    pre_tokenizer: _ByteLevel
    added_tokens: list[AddedToken]
    normalizer: None = None

    def id(self, text: str) -> int:
        """Of a special token. Raises ConversionError."""
        for token in self.added_tokens:
            if token.content == text:
                return token.id
        raise ConversionError(f"{TOKENIZER}: the token {text} is missing")

    def text(self, number: int) -> str:
        """Of a special token. Raises ConversionError."""
        for token in self.added_tokens:
            if token.id == number:
                return token.content
        raise ConversionError(f"{TOKENIZER}: no special token has the id {number}")


def read_whisper_tokenizer(content: bytes) -> WhisperTokenizer:
    """Raises ConversionError naming the field at fault."""
    return decode_document(content, TOKENIZER, WhisperTokenizer)


def save_whisper_tokenizer(source: WhisperTokenizer, size: int, folder: Path) -> None:
    """Write the tokenizer and the detokenizer of a model with `size` tokens.

    Raises ConversionError, OSError, RuntimeError.
    """
    import openvino

    vocabulary = whisper_vocabulary(source, size)
    end = source.id(_END)
    steps = Steps(splits=PRE_TOKENIZERS["gpt-2"].splits, pad=end)
    for name, model in (
        ("tokenizer", build_tokenizer(vocabulary, steps)),
        ("detokenizer", build_detokenizer(vocabulary)),
    ):
        for role in ("bos", "eos", "pad"):
            model.set_rt_info(end, f"{role}_token_id")
        openvino.save_model(model, folder / f"openvino_{name}.xml", compress_to_fp16=False)


def whisper_vocabulary(source: WhisperTokenizer, size: int) -> Vocabulary:
    """The tokens of a model with `size` of them. Raises ConversionError."""
    special = {token.id: token.content for token in source.added_tokens} | _times(source, size)
    normal = {number: to_bytes(text) for text, number in source.model.vocab.items() if number not in special}
    largest = max(*normal, *special)
    if largest >= size:
        raise ConversionError(f"{TOKENIZER}: it has a token {largest}, but the model has {size} tokens")
    if len(normal) + len(special) < size:
        raise ConversionError(f"{TOKENIZER}: some of the model's tokens are missing")
    merges = _merges(source.model.merges, set(normal.values()))
    encoded = [normal.get(number, b"") for number in range(size)]
    shown = [
        text or special[number].encode() if number in special else text for number, text in enumerate(encoded)
    ]
    return Vocabulary(encoded, shown, merges, special={}, hidden=sorted(special))


def _times(source: WhisperTokenizer, size: int) -> dict[int, str]:
    """The tokens after the last one that a tokenizer.json has to contain, up to the model's last."""
    first = source.id(_NO_TIMES) + 1
    return {number: f"<|{(number - first) * _SECONDS_PER_TOKEN:.2f}|>" for number in range(first, size)}


def _merges(written: list[str | tuple[str, str]], tokens: set[bytes]) -> list[Merge]:
    """Raises ConversionError: native code fails without saying why."""
    merges = []
    for place, merge in enumerate(written):
        parts = merge.split(" ") if isinstance(merge, str) else list(merge)
        joined = tuple(map(to_bytes, parts))
        if len(joined) != 2 or not {*joined, b"".join(joined)} <= tokens or not all(joined):
            raise ConversionError(f"{TOKENIZER}: merges[{place}] joins or makes what is no token")
        merges.append((joined[0], joined[1]))
    return merges
