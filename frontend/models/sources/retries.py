"""When a transfer is tried again, and after how long. Pure but for the nap."""

import datetime
import email.utils
import random
import time
from collections.abc import Callable
from typing import TypeVar

from frontend.models.errors import SourceError

TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}  # of HTTP

TRIES = 6  # without progress
LOOK_TRIES = 3  # before anything was fetched: a wrong or unreachable host should not take half a minute
CATALOGUE_TRIES = 3  # of one source, since there are others
_BACKOFF_SECONDS = 1.0  # doubles with each try
_MAX_BACKOFF_SECONDS = 30.0
_MAX_RETRY_AFTER_SECONDS = 120.0
_JITTER = 0.25  # more or less than the back-off, so that many clients do not come back at once

Sleep = Callable[[float], None]
Answer = TypeVar("Answer")


class Transient(Exception):
    """Another attempt may succeed, not before `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unreachable(Transient):
    """No connection could be made at all."""


def nap(seconds: float) -> None:
    """Sleep about as long as that."""
    time.sleep(seconds * random.uniform(1 - _JITTER, 1 + _JITTER))  # noqa: S311 - no secret


class Patience:
    """Counts the tries in which no more bytes arrived than before."""

    def __init__(self, tries: int = TRIES, sleep: Sleep = nap) -> None:
        self._tries, self._sleep = tries, sleep
        self._failures = 0
        self._most = 0

    def wait(self, error: Transient, done: int) -> str:
        """Wait before the next try. Returns what to note; raises SourceError if there will be none.

        `done` is the number of bytes that are there.
        """
        self._failures = self._failures + 1 if done <= self._most else 1
        self._most = max(self._most, done)
        if self._failures >= self._tries:
            tries = f" ({self._tries} tries)" if self._tries > 1 else ""
            raise SourceError(f"{error}{tries}") from error
        if error.retry_after > _MAX_RETRY_AFTER_SECONDS:
            minutes = error.retry_after / 60
            raise SourceError(f"{error}; the server asks to try again in {minutes:.0f} minutes") from error
        self._sleep(max(backoff(self._failures), error.retry_after))
        return f"{error}; trying again"


def patiently(
    ask: Callable[[], Answer], on_note: Callable[[str], None], patience: Patience | None = None
) -> Answer:
    """The answer of what may raise Transient. Raises SourceError once patience ends."""
    patience = patience or Patience()
    while True:
        try:
            return ask()
        except Transient as error:
            on_note(patience.wait(error, 0))


def backoff(failures: int) -> float:
    """Seconds before the next try after that many failures in a row."""
    return float(min(_BACKOFF_SECONDS * 2 ** (failures - 1), _MAX_BACKOFF_SECONDS))


def retry_after(value: str | None, now: float) -> float:
    """The seconds that a Retry-After header asks for: a number, or an HTTP date; 0 if neither."""
    if not value:
        return 0.0
    if value.strip().isdigit():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if at.tzinfo is None:
        at = at.replace(tzinfo=datetime.UTC)
    return max(0.0, at.timestamp() - now)
