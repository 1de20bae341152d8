"""Searches incomplete text for marks, one of which may have begun at its end."""

import re
from collections.abc import Iterable

# The maximum number of newlines before a mark that belong to it. Newlines are held back until this is known.
_MAX_NEWLINES = 8
_NEWLINES = rf"[\r\n]{{0,{_MAX_NEWLINES}}}"
_FENCES = ("```", "~~~")
# The beginning of a line that may be a call.
_UNMARKED = rf"[\r\n]{{1,{_MAX_NEWLINES}}}(?=[{{\[]|{'|'.join(_FENCES)})"


class Marks:
    """A compiled set of strings, none of which may be a prefix of another."""

    def __init__(self, *marks: str, silent: Iterable[str] = (), unmarked: bool = False) -> None:
        """`silent` marks, which only end a turn, are found too but not reported to the reader of the text.

        With `unmarked`, so are newlines before JSON or a fenced block, as a match without a mark.
        """
        self.silent = frozenset(silent)
        wanted = [*dict.fromkeys((*marks, *self.silent))]
        if unmarked:
            wanted += _FENCES
        self._longest = _MAX_NEWLINES + max(map(len, wanted), default=0)
        whole = "|".join(re.escape(mark) for mark in wanted if mark not in _FENCES) or r"(?!)"
        begun = "|".join(map(_beginnings, wanted)) or r"(?!)"
        self._whole = re.compile(f"{_NEWLINES}({whole})" + (f"|{_UNMARKED}" if unmarked else ""))
        self._begun = re.compile(f"{_NEWLINES}(?:{begun})?\\Z" if wanted else r"\Z")

    def search(self, text: str, start: int) -> re.Match[str] | None:
        """The first mark, with the newlines before it. Group 1 is the mark itself, if there is one."""
        return self._whole.search(text, start)

    def match(self, text: str, start: int) -> re.Match[str] | None:
        """The mark at `start`, possibly after newlines."""
        return self._whole.match(text, start)

    def begin_at(self, text: str, start: int) -> bool:
        """Whether the text from `start` may become a mark once more text arrives."""
        return len(text) - start < self._longest and self._begun.match(text, start) is not None

    def first_open(self, text: str, start: int) -> int:
        """The position at which an incomplete mark may have begun, or else the end of `text`."""
        found = self._begun.search(text, max(start, len(text) - self._longest))
        assert found is not None  # it matches nothing at the end
        return found.start()


def _beginnings(mark: str) -> str:
    """A pattern that matches every proper prefix of `mark`."""
    pattern = ""
    for character in reversed(mark[:-1]):
        pattern = re.escape(character) + (f"(?:{pattern})?" if pattern else "")
    return pattern
