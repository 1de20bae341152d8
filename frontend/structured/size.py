"""Whether a schema is small enough to be looked into at all."""

from typing import Any

from frontend.structured import charset as cs
from frontend.structured import limits
from frontend.structured.keywords import below, fault


def check(schema: Any, where: str) -> None:
    """Raises BadRequest for what is too large or too deep, or cannot be written as JSON. Stops at the limits."""
    left = limits.SCHEMA_BYTES
    nodes = limits.SCHEMA_NODES
    waiting: list[tuple[Any, str, int]] = [(schema, where, 0)]
    while waiting:
        value, at, depth = waiting.pop()
        nodes -= 1
        if isinstance(value, str):
            left -= len(value)
            _text(value, at, left)
        elif isinstance(value, dict | list):
            nodes -= len(value)
            if depth == limits.SCHEMA_DEPTH:
                fault(where, f"is nested deeper than {limits.SCHEMA_DEPTH} levels")
            if nodes >= 0:
                for key, child in value.items() if isinstance(value, dict) else enumerate(value):
                    if isinstance(key, str):
                        left -= len(key)
                        _text(key, at, left)
                    waiting.append((child, below(at, key), depth + 1))
        elif (isinstance(value, float) and value in (float("inf"), float("-inf"))) or value != value:
            fault(at, "must be a finite number")
        if left < 0 or nodes < 0:
            fault(where, f"is larger than {limits.SCHEMA_BYTES} bytes or {limits.SCHEMA_NODES} values")


def _text(text: str, where: str, left: int) -> None:
    if left >= 0 and not text.isascii() and not all(cs.holds(cs.ANY, ord(character)) for character in text):
        fault(where, "has half of a surrogate pair, or a character that Unicode has not assigned")
