"""Jobs that were found to kill hosts, refused for a while when they come again."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from frontend.observability.redaction import sizes_alone
from frontend.routing.job import Job

REFUSED_SECONDS = 600.0
_REMEMBERED = 1024


class Refusal(msgspec.Struct, frozen=True):
    """What is known of a refused job, without its text."""

    id: str
    since: float  # seconds of the clock
    until: float
    why: str
    task: str  # the kind of its work
    work: dict[str, Any]  # the fields of its work, with sizes in place of texts
    body_bytes: int
    prompt_tokens: int | None  # None where they are unknown or not counted
    done_units: int  # of its result, when it was blamed
    deaths: int  # of hosts that held it
    incident: str | None = None  # the last of them


class Refusals:
    """By fingerprint."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._refused: dict[bytes, Refusal] = {}  # oldest first

    def add(self, job: Job, why: str, incident: str | None = None) -> None:
        fingerprint = job.fingerprint()
        now = self._clock()
        self._refused.pop(fingerprint, None)
        self._refused[fingerprint] = Refusal(
            id=f"ref_{secrets.token_hex(8)}",
            since=now,
            until=now + REFUSED_SECONDS,
            why=why,
            task=type(job.work).__name__.lower(),
            work=sizes_alone(msgspec.structs.replace(job.work, payload=b"")),
            body_bytes=len(job.body),
            prompt_tokens=job.used_tokens[0] or None,
            done_units=job.progress.point,
            deaths=job.state.deaths + 1,
            incident=incident,
        )
        while len(self._refused) > _REMEMBERED:
            del self._refused[next(iter(self._refused))]

    def reason(self, job: Job) -> str | None:
        """Why a job is refused, or None if it is not."""
        if not self._refused:  # nearly always
            return None
        refusal = self._refused.get(job.fingerprint())
        return refusal.why if refusal is not None and self._clock() < refusal.until else None

    def release(self, refusal_id: str) -> bool:
        """Refuse such jobs no longer; whether there was this refusal."""
        found = [fingerprint for fingerprint, one in self._refused.items() if one.id == refusal_id]
        for fingerprint in found:
            del self._refused[fingerprint]
        return bool(found)

    def __iter__(self) -> Iterator[Refusal]:
        """Those in force, the latest first."""
        now = self._clock()
        return (refusal for refusal in reversed(list(self._refused.values())) if now < refusal.until)

    def __len__(self) -> int:
        return sum(1 for _ in self)
