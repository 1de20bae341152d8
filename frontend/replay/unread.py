"""Answers that go on without a reader, for clients that may come back."""

import asyncio
from collections.abc import Callable

from frontend.caller import Caller
from frontend.http.in_flight import InFlight
from frontend.replay.recording import Recording


class Unread:
    def __init__(
        self, in_flight: InFlight, clock: Callable[[], float], max_concurrent: Callable[[Caller], int | None]
    ) -> None:
        """`in_flight` has what operators see and cancel; `clock` is that of the exchanges. `max_concurrent`
        returns how many requests of a caller may be answered at a time."""
        self._in_flight = in_flight
        self._clock = clock
        self._max_concurrent = max_concurrent
        self._timers: dict[Recording, asyncio.TimerHandle] = {}  # that end the recordings; the oldest first

    def add(self, recording: Recording, seconds: float) -> None:
        """Abandon a recording after `seconds` unless it has a reader by then.

        A caller does not get more answers at a time by leaving: the oldest beyond its limit are abandoned at
        once.
        """
        if seconds <= 0:
            recording.abandoned.set()
            return
        exchange = recording.exchange
        timer = asyncio.get_running_loop().call_later(seconds, recording.abandoned.set)
        self._timers[recording] = timer
        self._in_flight.add(exchange, self._clock() - exchange.began)
        own = [other for other in self._timers if other.is_unread and _key_id(other) == _key_id(recording)]
        if (most := self._max_concurrent(exchange.caller)) is not None:
            for other in own[: max(0, len(own) - most)]:
                other.abandoned.set()

    def remove(self, recording: Recording) -> None:
        """It has a reader again, or has ended."""
        if (timer := self._timers.pop(recording, None)) is not None:
            timer.cancel()
            self._in_flight.forget(recording.exchange)


def _key_id(recording: Recording) -> str | None:
    return recording.exchange.caller.key_id
