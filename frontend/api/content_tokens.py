"""The tokens of an answer that the client sees as its content: no reasoning, no markup of calls, no ends."""

from collections.abc import Iterable

from frontend.api.token_texts import Placed, TokenTexts
from frontend.parsing.events import Span

Scored = tuple[float, bytes]  # a token's log probability, and its part of the content


class ContentTokens:
    """Tokens wait until it is known whether their text is content."""

    def __init__(self, spans: list[Span] | None) -> None:
        """`spans` of content, in order; they grow. None: all of the text is content."""
        self._spans = spans
        self._texts: TokenTexts[Scored] = TokenTexts()
        self._shown = 0  # characters of content

    def add(self, logprobs: Iterable[float], token_bytes: Iterable[bytes]) -> None:
        for logprob, data in zip(logprobs, token_bytes, strict=True):
            self._texts.add((logprob, data), data)

    def take(self, shown: int, ended: bool) -> list[Scored]:
        """The next tokens of the content, of which `shown` characters more are visible now."""
        self._shown += shown
        spans = self._visible()
        until = spans[-1].end if spans else 0
        tokens = self._texts.take_rest(until) if ended else self._texts.take(until)
        parts = (_part(token, spans) for token in tokens)
        return [part for part in parts if part is not None]

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


def _part(token: Placed[Scored], spans: list[Span]) -> Scored | None:
    logprob, data = token.what
    for span in spans:
        first, last = max(span.start, token.start), min(span.end, token.end)
        if first < last:
            is_whole = (first, last) == (token.start, token.end)
            return logprob, data if is_whole else token.text[
                first - token.start : last - token.start
            ].encode()
    return None
