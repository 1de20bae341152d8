"""Small vocabularies of the two common forms, to which scripts add tokens of their own.

Each begins with the most frequent tokens of a well-known model, so that prompts have about as many tokens as
with that model, and knows all bytes.
"""

import json
from typing import Any, Literal

from host.convert.bpe import Merge, Vocabulary
from host.convert.byte_level import to_bytes
from host.convert.pre_tokenizers import pre_tokenizer
from host.convert.tokenizer_graph import Steps, build_detokenizer, build_tokenizer
from tests.models.sentencepiece import raw_detokenizer
from tests.models.vocabularies import tokenizer_json

Form = Literal["byte-level", "sentencepiece"]
_MERGES = 4000
_REAL: dict[Form, str] = {"byte-level": "qwen3", "sentencepiece": "mistral"}
_MARK = "▁"  # how SentencePiece writes a space
UNKNOWN, BOS = "<unk>", "<s>"  # of SentencePiece


class Tokens:
    """Tokens by id, as they are added."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.pieces: list[bytes] = []  # as the vocabulary spells them
        self.encoded: list[bytes] = []  # empty for those that no text becomes
        self.ids: dict[bytes, int] = {}  # by piece
        self.special: dict[int, str] = {}
        self.hidden: list[int] = []
        self._merges: list[Merge] = []
        if form == "byte-level":
            self._add_byte_level()
        else:
            self._add_sentencepiece()

    def spell(self, text: str) -> list[bytes]:
        """The units of a text, which no token cuts: bytes, or SentencePiece's characters."""
        if self.form == "byte-level":
            return [bytes([byte]) for byte in text.encode()]
        return [character.encode() for character in text.replace(" ", _MARK)]

    def in_bytes(self, unit: bytes) -> list[int]:
        """The ids of the tokens that spell a unit of SentencePiece byte by byte."""
        return [self.ids[_byte_token(byte)] for byte in unit]

    def add_script(self, piece: bytes) -> int:
        """A token that only the model itself writes: no prompt contains it."""
        return self._add(piece, b"")

    def add_real(self, characters: str, count: int) -> None:
        """The `count` most frequent tokens of the well-known model that hold one of `characters`.

        No prompt contains them.
        """
        wanted = set(characters.encode())
        pieces = [
            to_bytes(text) if self.form == "byte-level" else text.encode()
            for text in _real_model(_REAL[self.form])["vocab"]
        ]
        for piece in [piece for piece in pieces if wanted & set(piece)][:count]:
            if piece not in self.ids:
                self.add_script(piece)

    def add_twin(self, number: int) -> int:
        """Another token of the same text that only the model itself writes. Grammars do not know it."""
        self.pieces.append(self.pieces[number])
        self.encoded.append(b"")
        if number in self.hidden:
            self.hidden.append(len(self.pieces) - 1)
        return len(self.pieces) - 1

    def add_special(self, text: str, hidden: bool) -> int:
        """A token that is found in any text, and that answers leave out if it is `hidden`."""
        number = self.ids.get(text.encode())
        if number is None:
            number = self._add(text.encode(), text.encode())
        self.special[number] = text
        if hidden and number not in self.hidden:
            self.hidden.append(number)
        return number

    def models(self) -> tuple[Any, Any]:
        """The tokenizer's and the detokenizer's graphs."""
        vocabulary = Vocabulary(
            self.encoded,
            self.pieces,
            self._merges,
            self.special,
            self.hidden,
            byte_fallback=self.form == "sentencepiece",
        )
        if self.form == "byte-level":
            pre = pre_tokenizer("qwen2")
            return build_tokenizer(vocabulary, Steps(pre.splits, nfc=pre.nfc)), build_detokenizer(vocabulary)
        steps = Steps(
            splits=(r"(?<=<)0x[0-9A-F]{2}(?=>)", f"{_MARK}*[^{_MARK}]+|{_MARK}+"),
            replacements=((r"\A([\s\S])", " $1"), (" ", _MARK)),
            bos=self.ids[BOS.encode()],
        )
        return build_tokenizer(vocabulary, steps), raw_detokenizer(vocabulary.shown, vocabulary.hidden)

    def _add(self, piece: bytes, encoded: bytes) -> int:
        assert piece not in self.ids, f"the vocabulary has {piece!r} already"
        self.ids[piece] = len(self.pieces)
        self.pieces.append(piece)
        self.encoded.append(encoded)
        return len(self.pieces) - 1

    def _add_byte_level(self) -> None:
        for byte in range(256):
            self._add(bytes([byte]), bytes([byte]))
        for left, right in _real_model(_REAL[self.form])["merges"][:_MERGES]:
            self._merge(to_bytes(left), to_bytes(right))

    def _add_sentencepiece(self) -> None:
        self.add_special(UNKNOWN, hidden=True)
        self.add_special(BOS, hidden=True)
        for byte in range(256):
            self._add(_byte_token(byte), _byte_token(byte))
        for character in (_MARK, *map(chr, range(0x21, 0x7F))):
            self._add(character.encode(), character.encode())
        for pair in _real_model(_REAL[self.form])["merges"][:_MERGES]:
            left, _, right = pair.partition(" ")
            if left.encode() in self.ids and right.encode() in self.ids:
                self._merge(left.encode(), right.encode())

    def _merge(self, left: bytes, right: bytes) -> None:
        if left + right not in self.ids:
            self._add(left + right, left + right)
        self._merges.append((left, right))


def _byte_token(byte: int) -> bytes:
    return f"<0x{byte:02X}>".encode()


def _real_model(name: str) -> Any:
    return json.loads(tokenizer_json(name).read_text(encoding="utf-8"))["model"]
