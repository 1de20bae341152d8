"""Regular expressions that match given texts, within what PCRE2 takes: 64 KiB of compiled pattern.

OpenVINO's operations do not report a larger one, and then match nothing.
"""

import re
from collections.abc import Collection, Iterable

from host.convert.errors import EXPORT, ConversionError

_LARGEST = 40_000  # bytes, to be safe
_PER_CHOICE = 8  # bytes


def any_of(texts: Collection[str]) -> str:
    """A pattern for each of the texts. Where several begin alike, the longest is found.

    Where they are too many, as in models that speak, numbers stand for all numbers of as many digits. Raises
    ConversionError if they still are.
    """
    choices = sorted(texts, key=len, reverse=True)
    patterns = list(map(quoted, choices))
    if sum(map(_size, choices)) > _LARGEST:
        shapes = {_with_any_digits(text): text for text in choices}
        if sum(map(_size, shapes.values())) > _LARGEST:
            raise ConversionError(f"it has too many special tokens ({len(texts)})", EXPORT)
        patterns = list(shapes)
    return "|".join(patterns)


def groups(texts: Iterable[str]) -> list[list[str]]:
    """Texts of which each group fits into one pattern."""
    found: list[list[str]] = []
    room = 0
    for text in texts:
        room -= _size(text)
        if room < 0:
            found.append([])
            room = _LARGEST - _size(text)
        found[-1].append(text)
    return found


def quoted(text: str) -> str:
    return "".join(
        character if character.isascii() and character.isalnum() else f"\\x{{{ord(character):X}}}"
        for character in text
    )


def _with_any_digits(text: str) -> str:
    parts = re.split("([0-9]+)", text)
    return "".join(f"[0-9]{{{len(part)}}}" if place % 2 else quoted(part) for place, part in enumerate(parts))


def _size(text: str) -> int:
    return 2 * len(text.encode()) + _PER_CHOICE
