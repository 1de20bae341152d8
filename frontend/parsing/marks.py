"""Strings to look for in a text that is still coming, one of which may already have begun at its end."""

import re
from collections.abc import Iterable

# So many newlines right before a mark belong to it. They have a bound, for nobody sees them while they wait.
_MAX_NEWLINES = 8
_NEWLINES = rf"[\r\n]{{0,{_MAX_NEWLINES}}}"


class Marks:
    """Compiled once per set of strings. None of them may begin with another."""

    def __init__(self, *marks: str, silent: Iterable[str] = ()) -> None:
        """`silent` marks are looked for as well; they only end a turn, and nobody is told of them."""
        self.silent = frozenset(silent)
        wanted = [*dict.fromkeys((*marks, *self.silent))]
        self._longest = _MAX_NEWLINES + max(map(len, wanted), default=0)
        whole = "|".join(map(re.escape, wanted)) or r"(?!)"
        begun = "|".join(map(_beginnings, wanted)) or r"(?!)"
        self._whole = re.compile(f"{_NEWLINES}({whole})")
        self._begun = re.compile(f"{_NEWLINES}(?:{begun})?\\Z" if wanted else r"\Z")

    def search(self, text: str, start: int) -> re.Match[str] | None:
        """The first mark with the newlines before it; the mark itself is group 1."""
        return self._whole.search(text, start)

    def match(self, text: str, start: int) -> re.Match[str] | None:
        """The mark that begins at `start`, possibly after newlines."""
        return self._whole.match(text, start)

    def begin_at(self, text: str, start: int) -> bool:
        """Whether what stands at `start` may become a mark when more comes."""
        return len(text) - start < self._longest and self._begun.match(text, start) is not None

    def first_open(self, text: str, start: int) -> int:
        """Where a mark may have begun that is not yet whole; the end of `text` for nowhere."""
        found = self._begun.search(text, max(start, len(text) - self._longest))
        assert found is not None  # it matches nothing at the end
        return found.start()


def _beginnings(mark: str) -> str:
    """A pattern of all that `mark` may have begun as."""
    pattern = ""
    for character in reversed(mark[:-1]):
        pattern = re.escape(character) + (f"(?:{pattern})?" if pattern else "")
    return pattern
