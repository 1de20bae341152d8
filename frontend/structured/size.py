"""Rejects schemas that are too large to process."""

import math
from typing import Any

from frontend.structured import charset as cs
from frontend.structured import limits
from frontend.structured.errors import reject
from frontend.structured.keywords import below


def check(schema: Any) -> None:
    """Raises ConstraintError if the schema is too large, too deep or not JSON. Stops at the limits."""
    left = limits.SCHEMA_BYTES
    nodes = limits.SCHEMA_NODES
    waiting: list[tuple[Any, str, int]] = [(schema, "", 0)]
    while waiting:
        value, at, depth = waiting.pop()
        if isinstance(value, dict | list):
            nodes -= len(value)
            if depth == limits.SCHEMA_DEPTH:
                reject("", f"is nested deeper than {limits.SCHEMA_DEPTH} levels")
            if nodes >= 0:
                children = value.items() if isinstance(value, dict) else enumerate(value)
                waiting += [(child, below(at, key), depth + 1) for key, child in children]
                left -= _keys(value, at, left) if isinstance(value, dict) else 0
        else:
            left -= _scalar(value, at, left)
        if left < 0 or nodes < 0:
            reject("", f"is larger than {limits.SCHEMA_BYTES} bytes or {limits.SCHEMA_NODES} values")


def _keys(value: dict[Any, Any], path: str, left: int) -> int:
    if not all(isinstance(key, str) for key in value):
        reject(path, "must have strings as keys")
    return sum(_scalar(key, path, left) for key in value)


def _scalar(value: Any, path: str, left: int) -> int:
    """The size of a key or scalar, which is checked to be valid unless it exceeds `left`."""
    if isinstance(value, str):
        known = value.isascii() or len(value) > left
        if not known and not all(cs.holds(cs.ANY, ord(character)) for character in value):
            reject(path, "contains a lone surrogate or an unassigned character")
        return len(value)
    if isinstance(value, float) and not math.isfinite(value):
        reject(path, "must be a finite number")
    if not isinstance(value, int | float | None):
        reject(path, "must be a JSON value")
    return 1
