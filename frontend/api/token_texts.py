"""Tokens as the texts that they add to an answer, each at its place. Pure."""

import codecs
from collections import deque
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Placed(msgspec.Struct, Generic[T]):
    """A token's text, which is empty where it only begins or goes on with a character."""

    what: T
    text: str
    start: int  # in the text, in characters
    end: int  # of the character that it is a part of


class TokenTexts(Generic[T]):
    """The tokens of one text, in order; their texts together are that text.

    The bytes of a character may be spread over several tokens: the one that completes it has all of it.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._at = 0
        self._open: list[Placed[T]] = []  # parts of a character that is not complete
        self._ready: deque[Placed[T]] = deque()

    def add(self, what: T, data: bytes) -> None:
        """A token's bytes of the text; `what` is the caller's own and comes back with the token."""
        text = self._decode(data)
        token = Placed(what, text, self._at, self._at + len(text))
        self._open.append(token)
        self._at = token.end
        if text or not data:
            self._close(token.start + 1 if text else token.start)

    def _close(self, end: int) -> None:
        for token in self._open:
            token.end = max(token.end, end)
        self._ready.extend(self._open)
        self._open.clear()

    def seek(self, at: int) -> None:
        """What follows begins there."""
        self._at = at

    def finish(self) -> None:
        """No more tokens come."""
        if self._open:
            rest = self._decode(b"", True)
            self._open[-1].text += rest
            self._at += len(rest)
            self._close(self._at)

    def take(self, until: int) -> list[Placed[T]]:
        """The next tokens, as far as the text is known up to a place."""
        taken = []
        while self._ready and self._ready[0].end <= until:
            taken.append(self._ready.popleft())
        return taken

    def take_rest(self, length: int) -> list[Placed[T]]:
        """The tokens that are left at the end of a text of that length, which may have been cut before a stop
        string: what is beyond it is left out."""
        self.finish()
        rest = [token for token in self._ready if token.start < length or not token.text]
        self._ready.clear()
        for token in rest:
            token.text = token.text[: max(0, length - token.start)]
            token.start = min(token.start, length)
        return rest
