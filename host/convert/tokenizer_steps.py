"""The steps of a tokenizer from a text to the numbers of its tokens, for each kind of model."""

from typing import Any

from host.convert.bert_normalizer import BertNormalizer
from host.convert.charsmap import encode_charsmap
from host.convert.errors import ConversionError
from host.convert.tokenizer_json import (
    BertPreTokenizer,
    Metaspace,
    Nfkc,
    Precompiled,
    Replace,
    TokenizerJson,
    Unigram,
    WhitespaceSplit,
    WordPiece,
)

_MAX_UTF8_BYTES = 4  # of a character
_STAND_IN = "\ue000"  # for a word that is too long: no vocabulary knows it


def model_steps(source: TokenizerJson, vocabulary: list[str]) -> list[Any]:
    """The normalizer's, the pre-tokenizer's and the model's steps. Raises ConversionError."""
    if isinstance(source.model, WordPiece):
        return _word_piece_steps(source, source.model, vocabulary)
    return _unigram_steps(source, source.model, vocabulary)


# --- BERT ---------------------------------------------------------------------------------------------------


def _word_piece_steps(source: TokenizerJson, model: WordPiece, vocabulary: list[str]) -> list[Any]:
    from openvino_tokenizers import tokenizer_pipeline as blocks

    normalizer = source.normalizer
    if not (isinstance(normalizer, BertNormalizer) and isinstance(source.pre_tokenizer, BertPreTokenizer)):
        raise ConversionError("tokenizer.json: WordPiece is supported only with BERT's other steps")
    if model.unk_token not in vocabulary:
        raise ConversionError(f"tokenizer.json: the vocabulary lacks {model.unk_token!r}")
    isolated, longest = normalizer.isolated(), model.max_input_chars_per_word
    return [
        *_bert_normalizer_steps(normalizer),
        blocks.RegexNormalizationStep(rf"[^\s{isolated}]{{{longest + 1},}}", _STAND_IN),
        blocks.RegexSplitStep(r"\s+"),
        blocks.RegexSplitStep(f"[{isolated}]", behaviour="isolate"),
        blocks.WordPieceTokenizationStep(
            vocabulary, model.unk_token, model.continuing_subword_prefix, longest * _MAX_UTF8_BYTES
        ),
    ]


def _bert_normalizer_steps(normalizer: BertNormalizer) -> list[Any]:
    from openvino_tokenizers import tokenizer_pipeline as blocks

    steps: list[Any] = []
    if replacements := normalizer.replacements():
        table = encode_charsmap(replacements)
        steps.append(blocks.CharsmapStep(charsmap=table, remove_extra_whitespaces=False))
    if normalizer.clean_text:  # a table cannot hold NUL, and should not hold 130,000 private characters
        steps.append(blocks.RegexNormalizationStep(r"[\x{0}\p{Co}]", ""))
    return steps


# --- SentencePiece's unigram model, as XLM-RoBERTa has it ---------------------------------------------------


def _unigram_steps(source: TokenizerJson, model: Unigram, vocabulary: list[str]) -> list[Any]:
    from openvino_tokenizers import tokenizer_pipeline as blocks

    scores = [score for _, score in model.vocab]
    scores += [min(scores)] * (len(vocabulary) - len(scores))
    return [
        *(_unigram_normalizer_step(step) for step in source.normalizers),
        *_metaspace_steps(source.splits),
        blocks.UnigramModelStep(vocabulary, scores, model.byte_fallback, model.unk_id),
    ]


def _unigram_normalizer_step(step: BertNormalizer | Precompiled | Replace | Nfkc) -> Any:
    from openvino_tokenizers import tokenizer_pipeline as blocks

    if isinstance(step, Precompiled):
        return blocks.CharsmapStep(charsmap=step.table(), remove_extra_whitespaces=False)
    if isinstance(step, Nfkc):
        return blocks.CharsmapStep(normalization_form="nfkc", remove_extra_whitespaces=False)
    if isinstance(step, Replace):
        return blocks.RegexNormalizationStep(step.pattern.Regex, step.content)
    raise ConversionError("tokenizer.json: Unigram is not supported with BERT's normalizer")


def _metaspace_steps(splits: list[BertPreTokenizer | WhitespaceSplit | Metaspace]) -> list[Any]:
    """Begin each word with the mark that stands for a space."""
    from openvino_tokenizers import tokenizer_pipeline as blocks

    *before, metaspace = splits or [WhitespaceSplit()]
    if not isinstance(metaspace, Metaspace) or not all(
        isinstance(split, WhitespaceSplit) for split in before
    ):
        raise ConversionError("tokenizer.json: Unigram is supported only with Metaspace")
    mark = metaspace.replacement
    steps: list[Any] = []
    if before:
        steps.append(blocks.RegexNormalizationStep(r"^\s+|\s+$", ""))
        steps.append(blocks.RegexNormalizationStep(rf"\s+{mark}?", mark))
    else:
        steps.append(blocks.RegexNormalizationStep(" ", mark))
    if metaspace.prepends:
        steps.append(blocks.RegexNormalizationStep(f"^([^{mark}])", f"{mark}$1"))
    return [*steps, blocks.RegexSplitStep(mark, behaviour="mergedwithnext")]
