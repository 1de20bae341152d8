"""From token ids to text as they come, without cutting a character in two.

Byte-level vocabularies need no call at all: each id stands for fixed bytes. Where a check over the whole
vocabulary shows that this does not hold (SentencePiece), one batched `decode` per step does it.
"""

import codecs
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

S = TypeVar("S")
Batch = Sequence[tuple[S, list[int]]]


class Tokenizer(Protocol):
    """The part of openvino_genai.Tokenizer that is needed here."""

    def decode(self, tokens: list[list[int]], skip_special_tokens: bool = True) -> list[str]: ...

    def get_vocab(self) -> dict[bytes, int]: ...


class Detokenizer(Protocol[S]):
    """Text of many streams, each opened for one request."""

    longest_token: int | None  # bytes; None where unknown

    def open(self) -> S: ...

    def feed(self, batch: Batch[S]) -> list[str]:
        """New ids of several streams → the text each gained; a character still open comes with a later id."""

    def finish(self, stream: S) -> str:
        """What a stream still owes when no more ids come."""


class VocabularyDetokenizer:
    """Looks bytes up; a stream is an incremental UTF-8 decoder."""

    def __init__(self, pieces: Sequence[bytes], errors: str) -> None:
        """`pieces`: the bytes of each id, empty for special tokens. `errors`: as for bytes.decode."""
        self._pieces = dict(enumerate(pieces))
        self._decoder = codecs.getincrementaldecoder("utf-8")
        self._errors = errors
        self.longest_token: int | None = max(map(len, pieces), default=0) or None

    def open(self) -> codecs.IncrementalDecoder:
        return self._decoder(self._errors)

    def feed(self, batch: Batch[codecs.IncrementalDecoder]) -> list[str]:
        piece = self._pieces.get
        return [
            stream.decode(piece(ids[0], b"") if len(ids) == 1 else b"".join([piece(i, b"") for i in ids]))
            for stream, ids in batch
        ]

    def finish(self, stream: codecs.IncrementalDecoder) -> str:
        return stream.decode(b"", final=True)


class _Window:
    """A stream of the batched way: the last ids, and how much of their text is already out."""

    __slots__ = ("ids", "sent")

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.sent = 0


class BatchedDetokenizer:
    """Decodes each stream's window of recent ids, all streams in one call."""

    longest_token: int | None = None
    _KEEP = 8  # ids kept as context when a window is cut; a character spans at most 4
    _CUT_AT = 24

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._decode = tokenizer.decode

    def open(self) -> _Window:
        return _Window()

    def feed(self, batch: Batch[_Window]) -> list[str]:
        for window, ids in batch:
            window.ids += ids
        texts = self._decode([window.ids for window, _ in batch])
        gains = []
        for (window, _), text in zip(batch, texts, strict=True):
            # Some tokenizers show an unfinished character as U+FFFD, others show nothing.
            certain = len(text.rstrip("\ufffd"))
            gains.append(text[window.sent : certain])
            window.sent = max(window.sent, certain)
        self._cut([window for window, _ in batch if len(window.ids) >= self._CUT_AT])
        return gains

    def finish(self, stream: _Window) -> str:
        return self._decode([stream.ids])[0][stream.sent :] if stream.ids else ""

    def _cut(self, windows: list[_Window]) -> None:
        """Forget old ids. What is still owed stays owed: it is counted from the window's end."""
        if not windows:
            return
        tails = [window.ids[-self._KEEP :] for window in windows]
        texts = self._decode([window.ids for window in windows] + tails)
        for window, tail, whole, kept in zip(
            windows, tails, texts[: len(windows)], texts[len(windows) :], strict=True
        ):
            window.sent = max(0, len(kept) - (len(whole) - window.sent))
            window.ids = tail


def choose_detokenizer(tokenizer: Tokenizer) -> Detokenizer[Any]:
    """The vocabulary way if it gives the tokenizer's own text for every id, else the batched way."""
    by_id = {number: piece for piece, number in tokenizer.get_vocab().items()}
    ids = range(max(by_id, default=-1) + 1)
    each = [[number] for number in ids]
    shown = tokenizer.decode(each, skip_special_tokens=False)
    pieces = [by_id.get(number, text.encode()) for number, text in zip(ids, shown, strict=True)]
    runs = [list(ids[start : start + 64]) for start in range(0, len(ids), 64)]
    run_texts = tokenizer.decode(runs, skip_special_tokens=False)
    # The way in which the tokenizer treats bytes that are no UTF-8 is unknown: take the one that fits.
    for errors in ("ignore", "replace"):
        if all(
            piece.decode(errors=errors) == text for piece, text in zip(pieces, shown, strict=True)
        ) and all(
            b"".join([pieces[number] for number in run]).decode(errors=errors) == text
            for run, text in zip(runs, run_texts, strict=True)
        ):
            visible = tokenizer.decode(each)
            special = [text != "" and seen == "" for text, seen in zip(shown, visible, strict=True)]
            return VocabularyDetokenizer(
                [b"" if hide else piece for piece, hide in zip(pieces, special, strict=True)], errors
            )
    return BatchedDetokenizer(tokenizer)
