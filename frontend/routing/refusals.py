"""Jobs that were found to kill hosts, refused for a while when they come again."""

from collections.abc import Callable

from frontend.routing.job import Job

REFUSED_SECONDS = 600.0
_REMEMBERED = 1024


class Refusals:
    """Fingerprints with the time until which they are refused, and why."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._until: dict[bytes, tuple[float, str]] = {}  # oldest first

    def add(self, job: Job, why: str) -> None:
        fingerprint = job.fingerprint()
        self._until.pop(fingerprint, None)
        self._until[fingerprint] = (self._clock() + REFUSED_SECONDS, why)
        while len(self._until) > _REMEMBERED:
            del self._until[next(iter(self._until))]

    def reason(self, job: Job) -> str | None:
        """Why a job is refused, or None if it is not."""
        if not self._until:  # nearly always
            return None
        until, why = self._until.get(job.fingerprint(), (0.0, ""))
        return why if self._clock() < until else None

    def __len__(self) -> int:
        now = self._clock()
        return sum(now < until for until, _ in self._until.values())
