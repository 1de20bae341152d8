"""A cache of compiled formats, keyed by the content of the constraint that each one enforces.

Clients repeat their schemas in every request, but at other positions, under other names and next to other
schemas. A key therefore holds nothing of where a constraint was found, and errors have relative paths.
"""

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any, TypeVar

import msgspec

from frontend.structured.errors import ConstraintError
from frontend.structured.lru import BoundedLru

Format = dict[str, Any]  # of a structural tag
Constraint = TypeVar("Constraint")

_QUICK_BYTES = 512
# Keywords that build automata or combine schemas, and what does so in a text of EBNF or a pattern.
_SLOW_WORDS = tuple(
    b"pattern format allOf anyOf oneOf $ref multipleOf propertyNames inimum aximum axLength inLength"
    b" axItems inItems { * + | \\ ::=".split()
)
_MAX_KEY_BYTES = 1024 * 1024  # longer constraints exceed the limits and are rejected

_Error = tuple[str, str]  # message and path; an exception object would collect tracebacks
Outcome = Format | _Error


class Deferred:
    """A constraint that is not compiled here, because it may take long."""

    def __init__(
        self, cache: "FormatCache", later: "Later", key: bytes, kind: str, content: bytes, is_json: bool
    ) -> None:
        """`kind` is the compiler's module and name; `content` is the constraint as MessagePack or JSON."""
        self.kind, self.content, self.is_json = kind, content, is_json
        self._cache, self._later, self._key = cache, later, key

    def settle(self, outcome: Outcome, keep: bool = True) -> None:
        """Let the constraint have this outcome from now on, or only until the end of `deferring`."""
        self._later.settled[self._key] = outcome
        if keep:
            self._cache.put(self._key, outcome)


class Later:
    """The constraints that some work has deferred, and those of them that are settled."""

    def __init__(self) -> None:
        self.settled: dict[bytes, Outcome] = {}
        self._deferred: dict[bytes, Deferred] = {}
        self.count = 0  # how often the work met one that is not settled

    def add(self, key: bytes, deferred: Deferred) -> None:
        self._deferred.setdefault(key, deferred)
        self.count += 1

    def take(self) -> list[Deferred]:
        """Those since the last time. If there are any, what the work returned or raised means nothing."""
        taken, self._deferred = list(self._deferred.values()), {}
        return taken


_PLACE: Format = {"type": "any_text"}  # in place of a format that is still to be compiled
_later: ContextVar[Later] = ContextVar("later")


@contextlib.contextmanager
def deferring() -> Iterator[Later]:
    """Here, a compiler returns some other format in place of what may take long, until that is settled."""
    later = Later()
    token = _later.set(later)
    try:
        yield later
    finally:
        _later.reset(token)


class FormatCache:
    """Thread-safe. Two threads that miss the same format both compile it."""

    def __init__(self, max_bytes: int) -> None:
        self._outcomes = BoundedLru[Outcome](max_bytes)

    def memoize(self, compiler: Callable[[Constraint], Format]) -> Callable[[Constraint], Format]:
        """Cache what `compiler` returns, and also the ConstraintErrors that it raises.

        It must be a pure function of its argument as JSON, and be found under its name in its module. Callers
        share the formats and must not modify them.
        """
        kind = f"{compiler.__module__}.{compiler.__qualname__}"

        @wraps(compiler)
        def compiled(constraint: Constraint) -> Format:
            encoded = _encoded(constraint)
            if encoded is None:
                return compiler(constraint)
            content, is_json = encoded
            key = hashlib.sha256(b"%s:%s" % (kind.encode(), content)).digest()
            later = _later.get(None)
            outcome = (later.settled.get(key) if later is not None else None) or self._outcomes.get(key)
            if outcome is None:
                if later is not None and may_take_long(content):
                    later.add(key, Deferred(self, later, key, kind, content, is_json))
                    return _PLACE
                before = later.count if later is not None else 0
                outcome = outcome_of(compiler, constraint)
                if later is None or later.count == before:  # nothing within it is still to be compiled
                    self.put(key, outcome)
            if isinstance(outcome, dict):
                return outcome
            raise ConstraintError(*outcome)

        return compiled

    def put(self, key: bytes, outcome: Outcome) -> None:
        self._outcomes.put(key, outcome, _size(outcome))

    @property
    def size_bytes(self) -> int:
        """Memory in use, approximately."""
        return self._outcomes.size_bytes


def may_take_long(content: bytes) -> bool:
    """Whether compiling a constraint, as MessagePack or JSON, may take more than some 20 milliseconds."""
    return len(content) > _QUICK_BYTES or any(word in content for word in _SLOW_WORDS)


def outcome_of(compiler: Callable[[Constraint], Format], constraint: Constraint) -> Outcome:
    try:
        return compiler(constraint)
    except ConstraintError as error:
        return error.message, error.path


def _size(value: object) -> int:
    """Bytes of memory, without the keys of objects: those are constants."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sys.getsizeof(value) + sum(map(_size, children))


def _encoded(constraint: object) -> tuple[bytes, bool] | None:
    """As MessagePack, or as JSON and True; None for what is about to be rejected: not JSON, or too large."""
    try:
        # Ten times as fast as json.dumps, and NaN does not become null.
        content, is_json = msgspec.msgpack.encode(constraint), False
    except OverflowError:  # an integer beyond 64 bits
        try:
            content, is_json = json.dumps(constraint).encode(), True
        except (TypeError, ValueError, RecursionError):
            return None
    except (TypeError, ValueError, RecursionError):
        return None
    return None if len(content) > _MAX_KEY_BYTES else (content, is_json)
