"""From token ids to text as they come, without cutting a character in two.

Byte-level vocabularies need no call at all: each id stands for fixed bytes. Where a check over the whole
vocabulary shows that this does not hold (SentencePiece), one batched `decode` per step does it.
"""

import codecs
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from host.vocabulary import meant

S = TypeVar("S")
Batch = Sequence[tuple[S, list[int]]]


_RUN = 64  # ids that are decoded together to see that their texts add up


class Tokenizer(Protocol):
    """The part of openvino_genai.Tokenizer that is needed here."""

    def decode(self, tokens: list[list[int]], skip_special_tokens: bool = True) -> list[str]: ...

    def get_vocab(self) -> dict[bytes, int]: ...


class Detokenizer(Protocol[S]):
    """Text of many streams, each opened for one request."""

    longest_token: int | None  # bytes; None where unknown
    special: Mapping[int, str]  # the special tokens' texts

    def open(self, skip_special_tokens: bool = True, after: Sequence[int] = ()) -> S:
        """A stream whose text follows that of the ids `after`: without them it begins a text, and some
        tokenizers (SentencePiece) leave out the space before the first word."""

    def feed(self, batch: Batch[S]) -> list[str]:
        """New ids of several streams → the text each gained; a character still open comes with a later id."""

    def finish(self, stream: S) -> str:
        """What a stream still owes when no more ids come."""

    def token_bytes(self, ids: Sequence[int]) -> list[bytes]:
        """Each token's own bytes, also of special ones."""

    def shown_bytes(self, stream: S, ids: Sequence[int]) -> list[bytes]:
        """What each of a stream's next ids adds to its text: nothing where it is not shown."""

    def text_bytes(self, ids: Sequence[int]) -> list[bytes]:
        """Each token's part of a whole text, special ones included."""


class _Bytes:
    """A stream of the vocabulary's way."""

    __slots__ = ("decode", "piece")

    def __init__(self, decode: Callable[..., str], piece: Callable[[int, bytes], bytes]) -> None:
        self.decode = decode
        self.piece = piece


class VocabularyDetokenizer:
    """Looks bytes up; a stream is an incremental UTF-8 decoder."""

    def __init__(self, pieces: Sequence[bytes], special: Mapping[int, str], errors: str) -> None:
        """`pieces`: the bytes of each id. `errors`: as for bytes.decode."""
        self._pieces = dict(enumerate(pieces))
        self._visible = {number: piece for number, piece in self._pieces.items() if number not in special}
        self._decoder = codecs.getincrementaldecoder("utf-8")
        self._errors = errors
        self.special = special
        self.longest_token: int | None = max(map(len, self._visible.values()), default=0) or None

    def open(self, skip_special_tokens: bool = True, after: Sequence[int] = ()) -> _Bytes:  # noqa: ARG002
        # A token's text depends on its own bytes alone.
        pieces = self._visible if skip_special_tokens else self._pieces
        return _Bytes(self._decoder(self._errors).decode, pieces.get)

    def feed(self, batch: Batch[_Bytes]) -> list[str]:
        return [
            stream.decode(
                stream.piece(ids[0], b"")
                if len(ids) == 1
                else b"".join([stream.piece(number, b"") for number in ids])
            )
            for stream, ids in batch
        ]

    def finish(self, stream: _Bytes) -> str:
        return stream.decode(b"", True)

    def token_bytes(self, ids: Sequence[int]) -> list[bytes]:
        return [self._pieces.get(number, b"") for number in ids]

    text_bytes = token_bytes

    def shown_bytes(self, stream: _Bytes, ids: Sequence[int]) -> list[bytes]:
        return [stream.piece(number, b"") for number in ids]


class _Window:
    """A stream of the batched way: the last ids, and how much of their text is already out."""

    __slots__ = ("begins", "ids", "sent", "skip_special_tokens")

    def __init__(self, skip_special_tokens: bool) -> None:
        self.ids: list[int] = []
        self.sent = 0
        self.begins = True  # no id has a text yet
        self.skip_special_tokens = skip_special_tokens


class BatchedDetokenizer:
    """Decodes each stream's window of recent ids, all streams in one call."""

    longest_token: int | None = None
    _KEEP = 8  # ids kept as context when a window is cut; a character spans at most 4
    _CUT_AT = 24

    def __init__(
        self,
        tokenizer: Tokenizer,
        special: Mapping[int, str] = MappingProxyType({}),
        by_id: Mapping[int, bytes] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        raw = _by_id(tokenizer) if by_id is None else by_id
        self._pieces = {number: meant(piece) for number, piece in raw.items()}
        self.special = special
        self._strips = self._leaves_out_the_first_space()

    def _leaves_out_the_first_space(self) -> bool:
        for number, piece in self._pieces.items():
            if piece[:1] == b" " and piece.strip() and number not in self.special:
                return not self._tokenizer.decode([[number]])[0].startswith(" ")
        return False

    def open(self, skip_special_tokens: bool = True, after: Sequence[int] = ()) -> _Window:
        window = _Window(skip_special_tokens)
        if after:
            window.ids = list(after[-self._KEEP :])
            (text,) = self._texts([(window, window.ids)])
            window.sent = len(text.rstrip("\ufffd"))
            window.begins = all(number in self.special for number in after)
        return window

    def feed(self, batch: Batch[_Window]) -> list[str]:
        for window, ids in batch:
            window.ids += ids
        texts = self._texts([(window, window.ids) for window, _ in batch])
        gains = []
        for (window, _), text in zip(batch, texts, strict=True):
            # Some tokenizers show an unfinished character as U+FFFD, others show nothing.
            certain = len(text.rstrip("\ufffd"))
            gains.append(text[window.sent : certain])
            window.sent = max(window.sent, certain)
        self._cut([window for window, _ in batch if len(window.ids) >= self._CUT_AT])
        return gains

    def finish(self, stream: _Window) -> str:
        return self._texts([(stream, stream.ids)])[0][stream.sent :] if stream.ids else ""

    def token_bytes(self, ids: Sequence[int]) -> list[bytes]:
        return [
            self.special[number].encode() if number in self.special else self._pieces.get(number, b"")
            for number in ids
        ]

    def text_bytes(self, ids: Sequence[int]) -> list[bytes]:
        return self.shown_bytes(_Window(False), ids)

    def shown_bytes(self, stream: _Window, ids: Sequence[int]) -> list[bytes]:
        shown = []
        for number, piece in zip(ids, self.token_bytes(ids), strict=True):
            if number in self.special:
                shown.append(b"" if stream.skip_special_tokens else piece)
                continue
            shown.append(piece.removeprefix(b" ") if stream.begins and self._strips else piece)
            stream.begins = False
        return shown

    def _texts(self, batch: Batch[_Window]) -> list[str]:
        """One call for the streams that skip special tokens, and one per length for those that do not: the
        tokenizer fills shorter rows up with a special token, which would show."""
        calls: dict[int, dict[int, list[int]]] = {}  # ids by place, by length; 0 is for all that skip
        for at, (window, ids) in enumerate(batch):
            calls.setdefault(0 if window.skip_special_tokens else len(ids), {})[at] = ids
        texts: dict[int, str] = {}
        for length, rows in calls.items():
            shown = self._tokenizer.decode(list(rows.values()), skip_special_tokens=not length)
            texts |= zip(rows, shown, strict=True)
        return [texts[at] for at in range(len(batch))]

    def _cut(self, windows: list[_Window]) -> None:
        """Forget old ids. What is still owed stays owed: it is counted from the window's end."""
        if not windows:
            return
        tails = [window.ids[-self._KEEP :] for window in windows]
        texts = self._texts(
            [(window, window.ids) for window in windows] + list(zip(windows, tails, strict=True))
        )
        for window, tail, whole, kept in zip(
            windows, tails, texts[: len(windows)], texts[len(windows) :], strict=True
        ):
            window.sent = max(0, len(kept) - (len(whole) - window.sent))
            window.ids = tail


def choose_detokenizer(tokenizer: Tokenizer, pieces_by_id: Sequence[bytes] | None = None) -> Detokenizer[Any]:
    """The vocabulary way if it gives the tokenizer's own text for every id, else the batched way.

    `pieces_by_id` is given if several ids stand for the same bytes, which the tokenizer's vocabulary cannot
    express, as it is a mapping from bytes.
    """
    by_id = _by_id(tokenizer) if pieces_by_id is None else dict(enumerate(pieces_by_id))
    ids = range(max(by_id, default=-1) + 1)
    each = [[number] for number in ids]
    shown = tokenizer.decode(each, skip_special_tokens=False)
    pieces = [by_id.get(number, text.encode()) for number, text in zip(ids, shown, strict=True)]
    # All of one length: shorter rows are filled up, which shows.
    runs = [list(ids[start : start + _RUN]) for start in range(0, len(ids) - _RUN, _RUN)] + [
        list(ids[-_RUN:])
    ]
    run_texts = tokenizer.decode(runs, skip_special_tokens=False)
    visible = tokenizer.decode(each)
    special = {
        number: text for number, text, seen in zip(ids, shown, visible, strict=True) if text and not seen
    }
    # The way in which the tokenizer treats bytes that are not UTF-8 is unknown: take the one that fits.
    for errors in ("ignore", "replace"):
        if all(
            piece.decode(errors=errors) == text for piece, text in zip(pieces, shown, strict=True)
        ) and all(
            b"".join([pieces[number] for number in run]).decode(errors=errors) == text
            for run, text in zip(runs, run_texts, strict=True)
        ):
            return VocabularyDetokenizer(pieces, special, errors)
    return BatchedDetokenizer(tokenizer, special, by_id)


def _by_id(tokenizer: Tokenizer) -> dict[int, bytes]:
    return {number: piece for piece, number in tokenizer.get_vocab().items()}
