"""The parts of a tokenizer.json that sentence encoders use. Parts of other kinds are errors."""

import base64
import binascii
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

from host.convert.bert_normalizer import BertNormalizer
from host.convert.errors import ConversionError

TokenId = Annotated[int, Meta(ge=0, lt=2**24)]
_MAX_TOKENS = 2**21


class AddedToken(msgspec.Struct, frozen=True):
    """A token that is looked for before the text is normalized."""

    id: TokenId
    content: Annotated[str, Meta(min_length=1)]
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False
    special: bool = True


# --- normalizers ------------------------------------------------------------------------------------------


class Precompiled(msgspec.Struct, frozen=True, tag_field="type", tag="Precompiled"):
    """SentencePiece's table of character replacements."""

    precompiled_charsmap: str

    def table(self) -> bytes:
        """Raises ConversionError."""
        try:
            return base64.b64decode(self.precompiled_charsmap, validate=True)
        except binascii.Error as error:
            raise ConversionError(f"tokenizer.json: precompiled_charsmap: {error}") from error


class Pattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A regular expression; only such patterns are supported."""

    Regex: str


class Replace(msgspec.Struct, frozen=True, tag_field="type", tag="Replace"):
    pattern: Pattern
    content: str


class Nfkc(msgspec.Struct, frozen=True, tag_field="type", tag="NFKC"):
    """Unicode's normalization form of that name."""


class NormalizerSequence(msgspec.Struct, frozen=True, tag_field="type", tag="Sequence"):
    normalizers: list[BertNormalizer | Precompiled | Replace | Nfkc]


Normalizer = BertNormalizer | Precompiled | Replace | Nfkc | NormalizerSequence


# --- pre-tokenizers ---------------------------------------------------------------------------------------


class BertPreTokenizer(msgspec.Struct, frozen=True, tag_field="type", tag="BertPreTokenizer"):
    """Splits at white space, and around each punctuation character."""


class WhitespaceSplit(msgspec.Struct, frozen=True, tag_field="type", tag="WhitespaceSplit"):
    """Splits at white space."""


class Metaspace(msgspec.Struct, frozen=True, tag_field="type", tag="Metaspace"):
    """Replaces each space by a mark and begins a word with it."""

    replacement: Annotated[str, Meta(min_length=1, max_length=1)] = "▁"
    prepend_scheme: Literal["always", "never"] | None = None  # None in older files: add_prefix_space applies
    add_prefix_space: bool = True

    @property
    def prepends(self) -> bool:
        """Whether a text begins with the mark."""
        return self.add_prefix_space if self.prepend_scheme is None else self.prepend_scheme == "always"


class PreTokenizerSequence(msgspec.Struct, frozen=True, tag_field="type", tag="Sequence"):
    pretokenizers: list[BertPreTokenizer | WhitespaceSplit | Metaspace]


PreTokenizer = BertPreTokenizer | WhitespaceSplit | Metaspace | PreTokenizerSequence


# --- models -----------------------------------------------------------------------------------------------


class WordPiece(msgspec.Struct, frozen=True, tag_field="type", tag="WordPiece"):
    vocab: Annotated[dict[str, TokenId], Meta(max_length=_MAX_TOKENS)]
    unk_token: str
    continuing_subword_prefix: str = "##"
    max_input_chars_per_word: Annotated[int, Meta(ge=1, le=10_000)] = 100

    @property
    def tokens(self) -> dict[int, str]:
        return {number: text for text, number in self.vocab.items()}


class Unigram(msgspec.Struct, frozen=True, tag_field="type", tag="Unigram"):
    vocab: Annotated[list[tuple[str, float]], Meta(min_length=1, max_length=_MAX_TOKENS)]
    unk_id: TokenId
    byte_fallback: bool = False

    @property
    def tokens(self) -> dict[int, str]:
        return {number: text for number, (text, _) in enumerate(self.vocab)}


# --- post-processors --------------------------------------------------------------------------------------


class Template(NamedTuple):
    """Token ids, where -1 and -2 stand for the first and the second text, and their type ids."""

    ids: list[int]
    types: list[int]


class Segment(msgspec.Struct, frozen=True):
    id: str
    type_id: Annotated[int, Meta(ge=0, le=1)]


Piece = dict[Literal["SpecialToken", "Sequence"], Segment]


class TokenIds(msgspec.Struct, frozen=True):
    id: str
    ids: Annotated[list[TokenId], Meta(min_length=1, max_length=1)]
    tokens: list[str] = []


class TemplateProcessing(msgspec.Struct, frozen=True, tag_field="type", tag="TemplateProcessing"):
    """`single` and `pair` hold {"SpecialToken": Segment} and {"Sequence": Segment} with the ids A and B."""

    single: list[Piece]
    pair: list[Piece]
    special_tokens: dict[str, TokenIds]

    def template(self, texts: int) -> Template:
        """The template for one text or for two. Raises ConversionError."""
        template = Template([], [])
        for piece in self.single if texts == 1 else self.pair:
            for kind, segment in piece.items():
                known = _TEXTS if kind == "Sequence" else self.special_tokens
                if segment.id not in known:
                    raise ConversionError(f"tokenizer.json: post_processor: unknown {kind} {segment.id!r}")
                special = kind == "SpecialToken"
                template.ids.append(self.special_tokens[segment.id].ids[0] if special else _TEXTS[segment.id])
                template.types.append(segment.type_id)
        return template


_TEXTS = {"A": -1, "B": -2}


class BertProcessing(msgspec.Struct, frozen=True, tag_field="type", tag="BertProcessing"):
    sep: tuple[str, TokenId]
    cls: tuple[str, TokenId]

    def template(self, texts: int) -> Template:
        """The template for one text or for two."""
        ids = [self.cls[1], -1, self.sep[1], -2, self.sep[1]]
        parts = 3 if texts == 1 else 5
        return Template(ids[:parts], [0, 0, 0, 1, 1][:parts])


class TokenizerJson(msgspec.Struct, frozen=True):
    model: WordPiece | Unigram
    normalizer: Normalizer
    pre_tokenizer: PreTokenizer
    post_processor: TemplateProcessing | BertProcessing
    added_tokens: Annotated[list[AddedToken], Meta(min_length=1)]
    version: str = "1.0"

    @property
    def normalizers(self) -> list[BertNormalizer | Precompiled | Replace | Nfkc]:
        step = self.normalizer
        return step.normalizers if isinstance(step, NormalizerSequence) else [step]

    @property
    def splits(self) -> list[BertPreTokenizer | WhitespaceSplit | Metaspace]:
        step = self.pre_tokenizer
        return step.pretokenizers if isinstance(step, PreTokenizerSequence) else [step]


def read_tokenizer_json(content: bytes) -> TokenizerJson:
    """Raises ConversionError naming the field at fault."""
    try:
        return msgspec.json.decode(content, type=TokenizerJson)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConversionError(f"tokenizer.json: {error}") from error
