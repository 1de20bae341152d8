"""What the last object of an answer reports: counts of tokens, and nanoseconds."""

import datetime
import time
from collections.abc import Callable

import msgspec

from frontend.tasks.generation import Timing, Usage

_NANOSECONDS = 1e9


def timestamp(seconds: float | None = None) -> str:
    """Unix seconds, or now, as RFC 3339."""
    moment = time.time() if seconds is None else seconds
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat().replace("+00:00", "Z")


class Statistics(msgspec.Struct, frozen=True):
    total_duration: int  # all durations in nanoseconds
    load_duration: int
    prompt_eval_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int


class Watch:
    """Times one request. `clock` returns the seconds in which `Timing` is given."""

    def __init__(self, age_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`age_seconds`: how long ago the request arrived."""
        self._clock = clock
        self._arrived_at = clock() - age_seconds
        self._waits_since = clock()
        self.load_seconds = 0.0

    def loaded(self, seconds: float | None) -> None:
        """The model has work now, and its load took so long; None: as long as the request has waited.

        A request that came during the load has waited for a part of it only.
        """
        waited = self._clock() - self._waits_since
        self.load_seconds = waited if seconds is None else min(seconds, waited)

    def nanoseconds(self, seconds: float) -> int:
        return max(1, round(seconds * _NANOSECONDS))

    @property
    def total(self) -> int:
        return self.nanoseconds(self._clock() - self._arrived_at)

    @property
    def load(self) -> int:
        return self.nanoseconds(self.load_seconds)

    def statistics(self, usage: Usage, timing: Timing) -> Statistics:
        """At the end of a generation. The evaluation of the prompt includes the time in the queue."""
        now = self._clock()
        first = now if timing.first_token_at is None else timing.first_token_at
        sent_at = max(timing.queued_at, self._waits_since + self.load_seconds)
        return Statistics(
            total_duration=self.total,
            load_duration=self.load,
            prompt_eval_count=usage.prompt_tokens,
            prompt_eval_duration=self.nanoseconds(first - sent_at),
            eval_count=usage.completion_tokens,
            eval_duration=self.nanoseconds(now - first),
        )
