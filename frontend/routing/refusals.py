"""Requests that were found to kill hosts, refused for a while when they come again."""

import hashlib
from collections.abc import Callable

import msgspec

from frontend.routing.generation import SequenceSpec

REFUSED_SECONDS = 600.0
_REMEMBERED = 1024

_encode = msgspec.msgpack.encode


def fingerprint(spec: SequenceSpec) -> bytes:
    """What makes two requests the same to an engine: everything but the seed."""
    sampling = msgspec.structs.replace(spec.sampling, seed=None)
    return hashlib.blake2b(_encode((spec.prompt, sampling)), digest_size=16).digest()


class Refusals:
    """Fingerprints with the time until which they are refused, and why."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._until: dict[bytes, tuple[float, str]] = {}  # oldest first

    def add(self, spec: SequenceSpec, why: str) -> None:
        self._until.pop(fingerprint(spec), None)
        self._until[fingerprint(spec)] = (self._clock() + REFUSED_SECONDS, why)
        while len(self._until) > _REMEMBERED:
            del self._until[next(iter(self._until))]

    def reason(self, spec: SequenceSpec) -> str | None:
        """Why a request is refused, or None if it is not."""
        if not self._until:  # nearly always
            return None
        until, why = self._until.get(fingerprint(spec), (0.0, ""))
        return why if self._clock() < until else None

    def __len__(self) -> int:
        now = self._clock()
        return sum(now < until for until, _ in self._until.values())
