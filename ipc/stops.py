"""Stop strings over a stream of text: a pure machine that holds back only what may still become one."""

from collections.abc import Sequence


class StopMatcher:
    """Feed it text as it comes; it returns what may be shown."""

    __slots__ = ("_held", "_included", "_stops", "matched")

    def __init__(self, stops: Sequence[str], included: Sequence[str] = ()) -> None:
        """None of them is an empty string. Those of `stops` end a text before them, `included` ones after."""
        self._stops = (*stops, *included)
        self._included = frozenset(included)
        self._held = ""
        self.matched: str | None = None

    def feed(self, text: str) -> str:
        """The text that is now certain; on a match what precedes the earliest stop string, then nothing."""
        if self.matched is not None:
            return ""
        text = self._held + text
        starts = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if starts:
            at, self.matched = min(starts)
            self._held = ""
            return text[: at + len(self.matched)] if self.matched in self._included else text[:at]
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
