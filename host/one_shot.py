"""Blocking native calls that release the GIL, one at a time, in a thread beside the loop."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from host.engines.base import EngineLost

T = TypeVar("T")


class OneShot(Generic[T]):
    """Runs calls of one engine. A call cannot be interrupted: an engine cuts its work into pieces, and drops
    what was cancelled between them.

    The loop keeps turning while a call runs, so the progress page cannot notice that it hangs: each call has
    a stall budget here.
    """

    def __init__(self, stall_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._changed = threading.Condition()
        self._call: Callable[[], T] | None = None
        self._result: T | None = None
        self._error: Exception | None = None
        self._done = False
        self._began = 0.0
        self.running = False  # from `start` until `wait` has returned the result
        threading.Thread(target=self._work, name="one-shot", daemon=True).start()

    def start(self, call: Callable[[], T]) -> None:
        """Begin a call; none may be running."""
        assert not self.running, "one call at a time"
        with self._changed:
            self.running, self._done, self._began = True, False, self._clock()
            self._call = call
            self._changed.notify_all()

    def wait(self, seconds: float) -> T | None:
        """The call's result, which must not be None, or None while it runs. Waits at most `seconds`.

        Raises what the call raised, EngineLost past the stall budget.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._done, seconds):
                if self._clock() - self._began > self._stall_seconds:
                    raise EngineLost(f"a call made no progress for {self._stall_seconds:g} seconds")
                return None
            result, error = self._result, self._error
            self.running, self._result, self._error = False, None, None
        if error is not None:
            raise error
        return result

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._call is not None)
                call, self._call = self._call, None
            assert call is not None
            result, error = None, None
            try:
                result = call()
            except Exception as failure:
                error = failure
            with self._changed:
                self._result, self._error, self._done = result, error, True
                self._changed.notify_all()
