"""Reads the input of a custom tool out of the arguments of a call, while they arrive. Pure.

To the model, a custom tool is a function with one string, so its arguments are JSON: {"input": "…"}.
"""

import json
import re

from frontend.api.responses.tools import INPUT

_BEGIN = re.compile(rf'\s*\{{\s*"{INPUT}"\s*:\s*"')
_SURROGATE = re.compile("[\ud800-\udfff]")
# Whole characters of a JSON string; the first half of a surrogate pair waits for the second.
_CHARACTERS = re.compile(
    r'(?:[^"\\]|\\["\\/bfnrt]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}'
    r"|\\u(?:[0-9a-ce-fA-CE-F][0-9a-fA-F]|[dD][0-7c-fC-F])[0-9a-fA-F]{2})*"
)


class CustomInput:
    """Feed it the pieces of the arguments; at the end ask for the rest."""

    def __init__(self) -> None:
        self._arguments = ""
        self._read: int | None = None  # characters of the arguments; None before the input has begun
        self._given = 0  # characters of the input

    def feed(self, piece: str) -> str:
        """What the piece adds to the input."""
        self._arguments += piece
        if self._read is None:
            begun = _BEGIN.match(self._arguments)
            if begun is None:
                return ""
            self._read = begun.end()
        found = _CHARACTERS.match(self._arguments, self._read)
        assert found is not None
        self._read = found.end()
        text = _sendable(json.loads(f'"{found[0]}"', strict=False))
        self._given += len(text)
        return text

    def rest(self) -> str:
        """What is still missing, once the arguments are complete. They may be of another form than was asked
        for: then the only string in them is the input, or else all of them are."""
        return _sendable(_whole(self._arguments))[self._given :] if self._arguments else ""


def _sendable(text: str) -> str:
    """Halves of surrogate pairs, which no UTF-8 can express, become U+FFFD, as decoders do it."""
    return _SURROGATE.sub("\ufffd", text)


def _whole(arguments: str) -> str:
    try:
        value = json.loads(arguments, strict=False)
    except ValueError:
        return arguments
    if isinstance(value, dict) and isinstance(value.get(INPUT), str):
        return str(value[INPUT])
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1 and isinstance(only := next(iter(value.values())), str):
        return only
    return arguments
