"""What leaves the machine in a report: no paths, and nothing that clients wrote. Pure."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

WITHHELD = "[withheld: it may quote a request]"
HIDDEN = "[…]"
_WORDS_ALIKE = 3  # in a row, as in a request: these are a quotation
_LONG_WORD = 12  # characters that are one by themselves
_LONG_FOREIGN_WORD = 2  # as many that are not all ASCII
_WORD = re.compile(r"\w+(?:['’]\w+)*")
_MOST_BYTES = 4 * 1024 * 1024  # of requests that are searched
_MOST_WORK = 64 * 1024 * 1024  # bytes that one call reads: about 0.05 s, at worst 2 s
_SHOWN_IDS = 16
_PATH = re.compile(r"(?<![\w.…])/(?:[^\s/:'\"()]+/)+([^\s/:'\"()]*)")


def without_paths(text: str) -> str:
    """Absolute paths are cut to their last part."""
    return _PATH.sub(r"…/\1", text)


def without_prompts(lines: Sequence[str], bodies: Sequence[bytes]) -> list[str]:
    """Lines in which what also occurs in a request is hidden: any three words in a row, and long words."""
    if sum(map(len, bodies)) > _MOST_BYTES:
        return [WITHHELD if line else line for line in lines]
    bounded = _Search(bodies)
    return [_hide_quotes(line, bounded) for line in lines]


class _Search:
    """For texts in requests. It runs on the event loop, so it ends early: what has not been looked for by
    then counts as found."""

    def __init__(self, bodies: Sequence[bytes]) -> None:
        self._bodies = bodies
        self._known: dict[str, bool] = {}
        self._left = _MOST_WORK

    def finds(self, text: str) -> bool:
        if self._left < 0:
            return True
        if text not in self._known:
            wanted = text.encode(errors="replace")
            self._known[text] = any(self._is_in(body, wanted) for body in self._bodies)
        return self._known[text]

    def finds_all(self, words: Sequence[str], together: str) -> bool:
        """Words are looked for first: they recur, and most lines have one that no request has."""
        return all(map(self.finds, words)) and self.finds(together)

    def _is_in(self, body: bytes, wanted: bytes) -> bool:
        at = body.find(wanted)
        self._left -= len(body) if at < 0 else at
        return at >= 0


def _hide_quotes(line: str, requests: _Search) -> str:
    """What stands between two blanks is shown or hidden as a whole."""
    words = [match.span() for match in _WORD.finditer(line)]
    quoted: list[tuple[int, int]] = []
    for index, (start, end) in enumerate(words):
        if _tells_by_itself(line[start:end]) and requests.finds(line[start:end]):
            quoted.append((start, end))
        row = words[index : index + _WORDS_ALIKE]
        last = row[-1][1]
        if len(row) == _WORDS_ALIKE and requests.finds_all([line[a:b] for a, b in row], line[start:last]):
            quoted.append((start, last))
    if not quoted:
        return line
    shown: list[str] = []
    for match in re.finditer(r"\S+", line):
        is_quoted = any(start < match.end() and match.start() < end for start, end in quoted)
        if not (is_quoted and shown and shown[-1] == HIDDEN):
            shown.append(HIDDEN if is_quoted else match[0])
    return " ".join(shown)


def _tells_by_itself(word: str) -> bool:
    """What hosts and libraries say of themselves is in ASCII; several scripts do not part their words."""
    return len(word) >= (_LONG_WORD if word.isascii() else _LONG_FOREIGN_WORD)


def sizes_alone(value: Any) -> Any:
    """The same data, of dicts and lists, with sizes in place of texts, bytes and long lists of numbers."""
    if isinstance(value, str):
        return {"characters": len(value)}
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, msgspec.Struct):
        return {name: sizes_alone(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {key: sizes_alone(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if len(value) > _SHOWN_IDS or any(isinstance(item, int) for item in value):
            return {"count": len(value)}
        return [sizes_alone(item) for item in value]
    return value
