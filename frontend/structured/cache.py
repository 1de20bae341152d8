"""A cache of compiled formats, keyed by the content of the constraint that each one enforces.

Clients repeat their schemas in every request, but at other positions, under other names and next to other
schemas. A key therefore holds nothing of where a constraint was found, and errors have relative paths.
"""

import hashlib
import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import msgspec

from frontend.structured.errors import ConstraintError
from frontend.structured.lru import BoundedLru

Format = dict[str, Any]  # of a structural tag
Constraint = TypeVar("Constraint")

_MAX_KEY_BYTES = 1024 * 1024  # longer constraints exceed the limits and are rejected

_Error = tuple[str, str]  # message and path; an exception object would collect tracebacks
_Outcome = Format | _Error


class FormatCache:
    """Thread-safe. Two threads that miss the same format both compile it."""

    def __init__(self, max_bytes: int) -> None:
        self._outcomes = BoundedLru[_Outcome](max_bytes)

    def memoize(self, compiler: Callable[[Constraint], Format]) -> Callable[[Constraint], Format]:
        """Cache what `compiler` returns, and also the ConstraintErrors that it raises.

        It must be a pure function of its argument as JSON. Callers share the formats and must not modify
        them.
        """
        kind = f"{compiler.__module__}.{compiler.__qualname__}"

        @wraps(compiler)
        def compiled(constraint: Constraint) -> Format:
            key = _key(kind, constraint)
            if key is None:
                return compiler(constraint)
            outcome = self._outcomes.get(key)
            if outcome is None:
                outcome = _outcome(compiler, constraint)
                self._outcomes.put(key, outcome, _size(outcome))
            if isinstance(outcome, dict):
                return outcome
            raise ConstraintError(*outcome)

        return compiled

    @property
    def size_bytes(self) -> int:
        """Memory in use, approximately."""
        return self._outcomes.size_bytes


def _outcome(compiler: Callable[[Constraint], Format], constraint: Constraint) -> _Outcome:
    try:
        return compiler(constraint)
    except ConstraintError as error:
        return error.message, error.path


def _size(value: object) -> int:
    """Bytes of memory, without the keys of objects: those are constants."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sys.getsizeof(value) + sum(map(_size, children))


def _key(kind: str, constraint: object) -> bytes | None:
    """None for what is about to be rejected, as it is not JSON or exceeds the limits."""
    try:
        content = _encoded(constraint)
    except (TypeError, ValueError, RecursionError):
        return None
    if len(content) > _MAX_KEY_BYTES:
        return None
    return hashlib.sha256(b"%s:%s" % (kind.encode(), content)).digest()


def _encoded(constraint: object) -> bytes:
    try:
        return msgspec.msgpack.encode(
            constraint
        )  # ten times as fast as json.dumps, and NaN does not become null
    except OverflowError:  # an integer beyond 64 bits
        return json.dumps(constraint).encode()
