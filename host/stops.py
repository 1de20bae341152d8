"""Stop strings over a stream of text: a pure machine that holds back only what may still become one."""

from collections.abc import Sequence


class StopMatcher:
    """Feed it text as it comes; it returns what may be shown."""

    __slots__ = ("_held", "_stops", "matched")

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops` are not empty strings."""
        self._stops = tuple(stops)
        self._held = ""
        self.matched = False

    def feed(self, text: str) -> str:
        """The text that is now certain; on a match what precedes the earliest stop string, then nothing."""
        if self.matched:
            return ""
        text = self._held + text
        starts = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if starts:
            self.matched = True
            self._held = ""
            return text[: min(starts)]
        keep = max((_partial_match(text, stop) for stop in self._stops), default=0)
        shown = len(text) - keep
        self._held = text[shown:]
        return text[:shown]

    def flush(self) -> str:
        """What is held back, when nothing more comes."""
        held, self._held = self._held, ""
        return held


def _partial_match(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for size in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:size]):
            return size
    return 0
