"""BERT's normalization of text, exactly as Hugging Face's tokenizers do it.

OpenVINO Tokenizers' own steps differ in details that reach ordinary texts: they fold case instead of lowering
it, so that µ becomes μ, and they isolate characters that merely accompany Chinese ones.
"""

import unicodedata
from collections.abc import Iterator
from itertools import chain

import msgspec

_SCALARS = (range(1, 0xD800), range(0xE000, 0x30000), range(0xE0000, 0xE1000))  # beyond, nothing changes
_CONTROL = {"Cc", "Cf", "Co"}
_CHINESE = (
    r"\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}"
    r"\x{2B920}-\x{2CEAF}\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}"
)
_PUNCTUATION = r"!-/:-@\[-`{-~\p{P}"


class BertNormalizer(msgspec.Struct, frozen=True, tag_field="type", tag="BertNormalizer"):
    """The step of that name in a tokenizer.json."""

    clean_text: bool = True
    handle_chinese_chars: bool = True
    strip_accents: bool | None = None  # None: if lowercase
    lowercase: bool = True

    def replacements(self) -> dict[str, str]:
        """Every character that changes → what it becomes. Depends on Python's version of Unicode."""
        characters = map(chr, chain(*_SCALARS))
        return {old: new for old in characters if (new := self._normalized(old)) != old}

    def isolated(self) -> str:
        """The characters that are a word each, as the inside of a regular expression's class."""
        return _PUNCTUATION + _CHINESE if self.handle_chinese_chars else _PUNCTUATION

    def _normalized(self, character: str) -> str:
        if self.clean_text:
            if character in "\t\n\r" or unicodedata.category(character).startswith("Z"):
                return " "
            if character == "\ufffd" or unicodedata.category(character) in _CONTROL:
                return ""
        strip_accents = self.lowercase if self.strip_accents is None else self.strip_accents
        if strip_accents:
            character = "".join(_without_accents(character))
        return "".join(part.lower() for part in character) if self.lowercase else character


def _without_accents(character: str) -> Iterator[str]:
    decomposed = unicodedata.normalize("NFD", character)
    return (part for part in decomposed if unicodedata.category(part) != "Mn")
