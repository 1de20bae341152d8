"""Sets of characters as sorted, disjoint ranges of code points.

They never contain surrogates, nor the planes 4 to 11, in which Unicode has assigned nothing and for which
vocabularies lack the bytes.
"""

from collections.abc import Iterable

Range = tuple[int, int]
Charset = tuple[Range, ...]

ANY: Charset = ((0, 0xD7FF), (0xE000, 0x3FFFF), (0xC0000, 0x10FFFF))
NONE: Charset = ()


def charset(ranges: Iterable[Range]) -> Charset:
    merged: list[Range] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return intersection(tuple(merged), ANY)


def of(characters: str) -> Charset:
    return charset((ord(character), ord(character)) for character in characters)


def span(first: str, last: str) -> Charset:
    return charset([(ord(first), ord(last))])


def union(*sets: Charset) -> Charset:
    return charset(one for each in sets for one in each)


def intersection(left: Charset, right: Charset) -> Charset:
    found: list[Range] = []
    i = j = 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low <= high:
            found.append((low, high))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return tuple(found)


def complement(characters: Charset) -> Charset:
    gaps: list[Range] = []
    start = 0
    for low, high in characters:
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= 0x10FFFF:
        gaps.append((start, 0x10FFFF))
    return intersection(tuple(gaps), ANY)


def minus(left: Charset, right: Charset) -> Charset:
    return intersection(left, complement(right))


def holds(characters: Charset, codepoint: int) -> bool:
    return any(low <= codepoint <= high for low, high in characters)


DIGITS = span("0", "9")
HEX = union(DIGITS, span("a", "f"), span("A", "F"))
LETTERS = union(span("a", "z"), span("A", "Z"))
ALPHANUMERIC = union(LETTERS, DIGITS)
WORD = union(ALPHANUMERIC, of("_"))
ASCII = span("\0", "\x7f")
LINE_ENDS = of("\n\r")
BEYOND_ASCII = complement(ASCII)
# SPACE is what both ECMAScript and Python match with \s, SPACE_OF_ANY what either of them does.
SPACE = union(of(" \t\n\r\f\v\xa0\u1680\u2028\u2029\u202f\u205f\u3000"), span("\u2000", "\u200a"))
SPACE_OF_ANY = union(SPACE, of("\ufeff\x85"), span("\x1c", "\x1f"))
# Characters that can be generated unescaped: vocabularies lack some of the control characters.
PLAIN = minus(ANY, minus(span("\0", "\x1f"), of("\t\n\r")))
