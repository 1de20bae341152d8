"""Stop strings of answers that are parsed: they are looked for in what the client sees as content."""

from frontend.parsing.events import Content, Event
from ipc.messages import Sampling
from ipc.stops import StopMatcher


class ContentStops:
    """Cuts an answer's events at the first stop string. What may become one is held back."""

    def __init__(self, asked: Sampling) -> None:
        self._min_tokens = asked.min_tokens
        stops = ((), asked.stop) if asked.include_stop else (asked.stop, ())
        self._matcher = StopMatcher(*stops)

    @property
    def matched(self) -> str | None:
        """The stop string that was found."""
        return self._matcher.matched

    def cut(self, events: list[Event], tokens: int, *, ended: bool) -> list[Event]:
        """The events that precede a stop string, or all that are certain.

        `tokens` is the number of tokens so far, and `ended` states that no more will come.
        """
        if tokens < self._min_tokens:
            return events
        cut: list[Event] = []
        for event in events:
            if isinstance(event, Content):
                cut += _content(self._matcher.feed(event.text))
            else:
                cut += (*_content(self._matcher.flush()), event)
            if self.matched is not None:
                return cut
        if ended:
            cut += _content(self._matcher.flush())
        return cut


def _content(text: str) -> list[Event]:
    return [Content(text)] if text else []


def content_stops(asked: Sampling) -> ContentStops | None:
    """None if nothing is looked for."""
    return ContentStops(asked) if asked.stop else None
