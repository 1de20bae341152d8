"""How deeply a JSON body is nested. What reads it calls itself for every level, and Python bounds that."""

import re

MOST_LEVELS = 200  # what is made of a body that is not deeper never meets Python's bound

_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_TOKEN = re.compile(rb'("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?|[\[\]{},]', re.DOTALL)
_BRACKETS = b"[]{}"
_OTHERS = bytes(set(range(256)) - set(_BRACKETS))
_ALIKE = bytes.maketrans(b"{}", b"[]")


def is_deep(data: bytes) -> bool:
    """Whether JSON has more than MOST_LEVELS. For what is no JSON the answer means nothing."""
    if data.count(b"[") + data.count(b"{") <= MOST_LEVELS:
        return False
    brackets = _STRING.sub(b"", data).translate(_ALIKE, _OTHERS)
    for _ in range(MOST_LEVELS):  # each time without the innermost level of every branch
        length = len(brackets)
        brackets = brackets.replace(b"[]", b"")
        if len(brackets) == length:  # there are none, or they do not match
            return False
    return bool(brackets)


def deep_field(data: bytes) -> str | None:
    """The field, or an element of it, in which a body exceeds MOST_LEVELS; None if it is no object."""
    depth, key, index = 0, None, None
    for token in _TOKEN.finditer(data):
        if token[1] is not None:
            if depth == 1 and token[2] is not None:
                key, index = token[1][1:-1], None
        elif token[0] == b",":
            if depth == 2 and index is not None:
                index += 1
        elif token[0] in b"[{":
            depth += 1
            if depth == 2:
                index = 0 if token[0] == b"[" else None
            if depth > MOST_LEVELS:
                break
        else:
            depth -= 1
    if key is None:
        return None
    return key.decode(errors="replace") + ("" if index is None else f"[{index}]")
