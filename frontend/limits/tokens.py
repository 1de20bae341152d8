"""Charges jobs for their tokens: as estimated before they are queued, as used when they end."""

from collections.abc import Sequence
from functools import partial

from frontend.caller import Caller
from frontend.limits.quotas import Quotas
from frontend.routing.choice import ASSUMED_OUTPUT_TOKENS
from frontend.routing.job import Job


class Charge:
    """What the jobs of one request take. Jobs may share a prompt, whose tokens count once."""

    def __init__(self, quotas: Quotas, caller: Caller, jobs: Sequence[Job]) -> None:
        """Raises RateLimited."""
        self._quotas = quotas
        self._caller = caller
        bodies: set[int] = set()
        firsts: list[bool] = []
        certain = assumed = 0
        for job in jobs:
            is_first = id(job.body) not in bodies
            bodies.add(id(job.body))
            prompt, result = job.expected_tokens
            certain += (prompt if is_first else 0) + (result or 0)
            assumed += ASSUMED_OUTPUT_TOKENS if result is None else 0
            firsts.append(is_first)
        self._taken = quotas.reserve(caller, certain, assumed)
        self._jobs = jobs
        self._unpaid = len(jobs)
        self._used = 0
        for job, is_first in zip(jobs, firsts, strict=True):
            job.on_end = partial(self._ended, is_first)

    def _ended(self, is_first: bool, prompt: int, result: int) -> None:
        """Called at the end of each job; the last one settles the charge."""
        self._used += (prompt if is_first else 0) + result
        self._unpaid -= 1
        if not self._unpaid:
            self._quotas.use(self._caller, self._used - self._taken)

    def cancel(self) -> None:
        """Give everything back: none of the jobs was begun."""
        for job in self._jobs:
            job.on_end = None
        self._quotas.use(self._caller, -self._taken)


def charge(quotas: Quotas, caller: Caller, jobs: Sequence[Job]) -> Charge | None:
    """Charge the jobs. None if their tokens do not count or are not limited. Raises RateLimited."""
    counted = [job for job in jobs if job.needs_slot and job.expected_tokens != (0, 0)]
    return Charge(quotas, caller, counted) if counted and quotas.limits_tokens(caller) else None
