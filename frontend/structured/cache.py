"""A cache of compiled formats, keyed by the content of the constraint that each one enforces.

Clients repeat their schemas in every request, but at other positions, under other names and next to other
schemas. A key therefore holds nothing of where a constraint was found, and errors have relative paths.
"""

import hashlib
import json
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import msgspec

from frontend.structured.errors import ConstraintError

Format = dict[str, Any]  # of a structural tag
Constraint = TypeVar("Constraint")

_ENTRY_BYTES = 300  # of an entry's key and containers
_MAX_KEY_BYTES = 1024 * 1024  # longer constraints exceed the limits and are rejected

_Error = tuple[str, str]  # message and path; an exception object would collect tracebacks
_Outcome = Format | _Error


class FormatCache:
    """Evicts the least recently used formats. Thread-safe; compiles outside its lock."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._outcomes: OrderedDict[bytes, tuple[_Outcome, int]] = OrderedDict()  # with their sizes
        self._lock = threading.Lock()

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
            outcome = self._find(key)
            if outcome is None:
                outcome = _outcome(compiler, constraint)
                self._store(key, outcome)
            if isinstance(outcome, dict):
                return outcome
            raise ConstraintError(*outcome)

        return compiled

    @property
    def size_bytes(self) -> int:
        """Memory in use, approximately."""
        return self._bytes

    def _find(self, key: bytes) -> _Outcome | None:
        with self._lock:
            if key not in self._outcomes:
                return None
            self._outcomes.move_to_end(key)
            return self._outcomes[key][0]

    def _store(self, key: bytes, outcome: _Outcome) -> None:
        size = _ENTRY_BYTES + _size(outcome)
        with self._lock:
            if key in self._outcomes:  # another thread was faster
                return
            self._outcomes[key] = outcome, size
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, (_, evicted) = self._outcomes.popitem(last=False)
                self._bytes -= evicted


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
