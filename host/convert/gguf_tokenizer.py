"""Builds the OpenVINO tokenizer and detokenizer of a GGUF file from its metadata.

What OpenVINO GenAI makes of such a file cuts every text at 8192 tokens, splits words as Qwen2 or SmolLM do
whatever the file says, and neither adds a beginning-of-sequence token nor normalizes.
"""

import re
from math import isnan
from pathlib import Path

from host.convert.bpe import LONGEST_MERGED, Merge, Vocabulary, not_merged
from host.convert.byte_level import to_bytes
from host.convert.errors import EXPORT, ConversionError
from host.convert.gguf import GgufMetadata, damaged
from host.convert.pre_tokenizers import PRE_TOKENIZERS, PreTokenizer, pre_tokenizer
from host.convert.tokenizer_graph import Steps, build_detokenizer, build_tokenizer

_PREFIX = "tokenizer.ggml"
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = range(1, 7)  # types of tokens
_SPECIAL = (_UNKNOWN, _CONTROL, _USER_DEFINED)
_HIDDEN = (_UNKNOWN, _CONTROL)  # models show users their user-defined tokens, such as marks of reasoning
_BYTE_LEVEL, _SENTENCEPIECE = "gpt2", "llama"  # tokenizer.ggml.model
_MARK = "▁"  # how SentencePiece writes a space
_STANDARD_BOS = 1  # of SentencePiece
_BYTE_TOKEN = re.compile("<0x[0-9A-F]{2}>")
_CONTROL_ROLES = ("bos", "eos", "eot", "eom", "padding", "unknown")
_ROLES = {"pad": "padding"}  # where the file has another name


def save_tokenizer(metadata: GgufMetadata, folder: Path) -> None:
    """Write both graphs into `folder`. Raises ConversionError, OSError, RuntimeError."""
    import openvino

    vocabulary, steps = _read(metadata)
    facts = {f"{name}_token_id": number for name, number in _ids(metadata).items() if number is not None}
    for name, model in (
        ("tokenizer", build_tokenizer(vocabulary, steps)),
        ("detokenizer", build_detokenizer(vocabulary)),
    ):
        for fact, number in facts.items():
            model.set_rt_info(number, fact)
        openvino.save_model(model, folder / f"openvino_{name}.xml", compress_to_fp16=False)


def normalizes(metadata: GgufMetadata) -> bool:
    """Whether texts must be in normalization form C."""
    known = PRE_TOKENIZERS.get(metadata.text(f"{_PREFIX}.pre") or "")
    return known is not None and known.nfc and metadata.text(f"{_PREFIX}.model") == _BYTE_LEVEL


def _read(metadata: GgufMetadata) -> tuple[Vocabulary, Steps]:
    kind = metadata.text(f"{_PREFIX}.model")
    if kind == _BYTE_LEVEL:
        return _byte_level(metadata)
    if kind == _SENTENCEPIECE:
        return _sentencepiece(metadata)
    raise ConversionError(f"its tokenizer ({kind!r}) is not supported in GGUF files", EXPORT)


def _byte_level(metadata: GgufMetadata) -> tuple[Vocabulary, Steps]:
    pre = pre_tokenizer(metadata.text(f"{_PREFIX}.pre"))
    tokens, types = _tokens(metadata)
    texts = [
        b"" if kind == _UNUSED else token.encode() if kind in _SPECIAL else to_bytes(token)
        for token, kind in zip(tokens, types, strict=True)
    ]
    pairs = (pair.partition(" ") for pair in metadata.strings(f"{_PREFIX}.merges"))
    merges = [(to_bytes(left), to_bytes(right)) for left, _, right in pairs]
    _check_merges(merges, set(texts))
    encoded, words = _without_unmerged(texts, types, merges, pre)
    vocabulary = Vocabulary(encoded, texts, merges, *_special(tokens, types))
    steps = Steps(
        splits=pre.splits, nfc=pre.nfc, words=words, bos=_bos(metadata, pre.adds_bos), pad=_pad(metadata)
    )
    return vocabulary, steps


def _without_unmerged(
    texts: list[bytes], types: list[int], merges: list[Merge], pre: PreTokenizer
) -> tuple[list[bytes], dict[int, str]]:
    """What text may become each token, and which tokens only a whole word may become."""
    merged = {left + right for left, right in merges}
    normal = [text if kind == _NORMAL else b"" for text, kind in zip(texts, types, strict=True)]
    encoded = [
        b"" if kind == _NORMAL and len(text) > 1 and text not in merged else text
        for text, kind in zip(texts, types, strict=True)
    ]
    unmerged = not_merged(normal, merges) if pre.whole_words else []
    words = {number: texts[number].decode(errors="ignore") for number in unmerged}
    return encoded, {number: word for number, word in words.items() if word.encode() == texts[number]}


def _sentencepiece(metadata: GgufMetadata) -> tuple[Vocabulary, Steps]:
    tokens, types = _tokens(metadata)
    scores = metadata.floats(f"{_PREFIX}.scores")
    if len(scores) != len(tokens) or any(map(isnan, scores)):
        raise damaged(f"{_PREFIX}.scores does not hold one score for each token")
    encoded = [b"" if kind == _UNUSED else token.encode() for token, kind in zip(tokens, types, strict=True)]
    shown = [_shown(token, kind) for token, kind in zip(tokens, types, strict=True)]
    merges = _merges_by_score(tokens, types, scores)
    vocabulary = Vocabulary(encoded, shown, merges, *_special(tokens, types), byte_fallback=True)
    crosses_words = any(
        kind == _NORMAL and re.search(f"[^{_MARK}]{_MARK}", token)
        for token, kind in zip(tokens, types, strict=True)
    )
    steps = Steps(
        replacements=((" ", _MARK),),
        # The first split keeps the operation from taking the text <0x0A> for the token of that byte.
        splits=(r"(?<=<)0x[0-9A-F]{2}(?=>)",) + (() if crosses_words else (f"{_MARK}*[^{_MARK}]+|{_MARK}+",)),
        bos=_bos(metadata, True),
        pad=_pad(metadata),
    )
    if metadata.values.get(f"{_PREFIX}.add_space_prefix", True):
        steps = steps._replace(replacements=((r"\A([\s\S])", " $1"), *steps.replacements))
    return vocabulary, steps


def _shown(token: str, kind: int) -> bytes:
    if kind == _UNUSED:
        return b""
    if kind == _BYTE:
        if not _BYTE_TOKEN.fullmatch(token):
            raise damaged(f"{token[:20]!r} is no token for a byte")
        return bytes.fromhex(token[3:5])
    return token.encode() if kind in _SPECIAL else token.replace(_MARK, " ").encode()


def _merges_by_score(tokens: list[str], types: list[int], scores: list[float]) -> list[Merge]:
    """SentencePiece joins the neighbours whose result has the best score: the list begins with the best.

    Among equals it has the order that Hugging Face's conversion gives them.
    """
    known = {
        token: number
        for number, token in enumerate(tokens)
        if types[number] in (_NORMAL, _USER_DEFINED) and len(token) <= LONGEST_MERGED
    }
    pairs = [
        (-scores[number], number, known[token[:at]], known[token[at:]])
        for token, number in known.items()
        for at in range(1, len(token))
        if token[:at] in known and token[at:] in known
    ]
    return [(tokens[left].encode(), tokens[right].encode()) for _, _, left, right in sorted(pairs)]


def _tokens(metadata: GgufMetadata) -> tuple[list[str], list[int]]:
    tokens = metadata.strings(f"{_PREFIX}.tokens")
    types = metadata.integers(f"{_PREFIX}.token_type") or _default_types(metadata, tokens)
    if not tokens or len(types) != len(tokens):
        raise damaged(f"{_PREFIX}.token_type does not hold one type for each token")
    return tokens, types


def _default_types(metadata: GgufMetadata, tokens: list[str]) -> list[int]:
    """Of a file that has none: tokens with a role are control tokens, and SentencePiece knows its bytes."""
    roles = {metadata.integer(f"{_PREFIX}.{role}_token_id") for role in _CONTROL_ROLES}
    has_bytes = metadata.text(f"{_PREFIX}.model") == _SENTENCEPIECE
    return [
        _CONTROL if number in roles else _BYTE if has_bytes and _BYTE_TOKEN.fullmatch(token) else _NORMAL
        for number, token in enumerate(tokens)
    ]


def _special(tokens: list[str], types: list[int]) -> tuple[dict[int, str], list[int]]:
    kinds = list(enumerate(types))
    return {number: tokens[number] for number, kind in kinds if kind in _SPECIAL and tokens[number]}, [
        number for number, kind in kinds if kind in _HIDDEN
    ]


def _check_merges(merges: list[Merge], texts: set[bytes]) -> None:
    """The operation does not: it fails, and does not say why."""
    for place, (left, right) in enumerate(merges):
        if not (left and right and {left, right, left + right} <= texts):
            raise damaged(f"{_PREFIX}.merges[{place}] joins or makes what is no token")
    if not merges:
        raise damaged(f"{_PREFIX}.merges is missing")


def _ids(metadata: GgufMetadata) -> dict[str, int | None]:
    """The tokens that have a role, by the names that engines give these roles."""
    keys = {role: f"{_PREFIX}.{_ROLES.get(role, role)}_token_id" for role in ("bos", "eos", "pad")}
    return {role: metadata.integer(key) for role, key in keys.items()}


def _pad(metadata: GgufMetadata) -> int:
    ids = _ids(metadata)
    return next((number for number in (ids["pad"], ids["eos"]) if number is not None), 0)


def _bos(metadata: GgufMetadata, default: bool) -> int | None:
    """The token that completions begin with."""
    if not metadata.values.get(f"{_PREFIX}.add_bos_token", default):
        return None
    number = _ids(metadata)["bos"]
    if number is None and metadata.text(f"{_PREFIX}.model") == _SENTENCEPIECE:
        return _STANDARD_BOS
    return number
