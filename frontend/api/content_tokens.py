"""The tokens of an answer that the client sees as its content: no reasoning, no markup of calls, no ends."""

import codecs
from collections import deque
from collections.abc import Iterable

import msgspec

from frontend.parsing.events import Span

Scored = tuple[float, bytes]  # a token's log probability, and its part of the content


class _Token(msgspec.Struct, gc=False):
    logprob: float
    data: bytes
    start: int  # in the text, in bytes

    def within(self, ranges: list[tuple[int, int]]) -> bytes:
        """Its bytes that are in these ranges of the text."""
        end = self.start + len(self.data)
        cut = ((max(first, self.start), min(last, end)) for first, last in ranges)
        return b"".join(
            self.data[first - self.start : last - self.start] for first, last in cut if first < last
        )


class ContentTokens:
    """Tokens wait until it is known whether their text is content.

    Their bytes together are the content, but for what the parser adds to it; tokens at an edge of it are cut.
    """

    def __init__(self, spans: list[Span] | None) -> None:
        """`spans` of content, in order; they grow. None: all of the text is content."""
        self._spans = spans
        self._tokens: deque[_Token] = deque()
        self._characters = _Characters()
        self._shown = 0  # characters of content

    def add(self, logprobs: Iterable[float], token_bytes: Iterable[bytes]) -> None:
        for logprob, data in zip(logprobs, token_bytes, strict=True):
            self._tokens.append(_Token(logprob, data, self._characters.length))
            self._characters.add(data)

    def take(self, shown: int, ended: bool) -> list[Scored]:
        """The next tokens of the content, of which `shown` characters more are visible now."""
        self._shown += shown
        if ended:
            self._characters.finish()
        at = self._characters.byte
        ranges = [(at(span.start), at(span.end)) for span in self._visible()]
        until = ranges[-1][1] if ranges else 0
        taken: list[Scored] = []
        while self._tokens and (ended or self._tokens[0].start + len(self._tokens[0].data) <= until):
            token = self._tokens.popleft()
            if part := token.within(ranges):
                taken.append((token.logprob, part))
        return taken

    def _visible(self) -> list[Span]:
        """The spans, as far as they are shown."""
        if self._spans is None:
            return [Span(0, self._shown)]
        visible: list[Span] = []
        left = self._shown
        for span in self._spans:
            if left > span.glue:
                visible.append(Span(span.start, min(span.end, span.start + left - span.glue)))
            left -= span.shown
        return visible


class _Characters:
    """Where each character of a text ends, in bytes. What is not UTF-8 counts as replacement characters."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ends: list[int] = []
        self.length = 0  # bytes

    def add(self, data: bytes) -> None:
        if data.isascii() and not self._open:
            self._ends.extend(range(self.length + 1, self.length + len(data) + 1))
            self.length += len(data)
            return
        for byte in data:
            count = len(self._decoder.decode(bytes([byte])))
            self.length += 1
            if count == 2:  # it shows that those before it are no character
                self._ends.append(self.length - 1)
            if count:
                self._ends.append(self.length - self._open)

    @property
    def _open(self) -> int:
        """The bytes of a character that is not complete."""
        return len(self._decoder.getstate()[0])

    def finish(self) -> None:
        """No more bytes come."""
        if self._decoder.decode(b"", True):
            self._ends.append(self.length)

    def byte(self, character: int) -> int:
        """Where the character begins, or the known text ends."""
        known = min(character, len(self._ends))
        return self._ends[known - 1] if known else 0
