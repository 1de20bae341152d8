"""What one API call's jobs produce, on its way to whoever answers the call."""

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from frontend.errors import ClientGone


class JobOutput(Protocol):
    """What one job gained."""

    @property
    def ends(self) -> bool:
        """Whether it is the last output of its job."""


OutputT = TypeVar("OutputT", bound=JobOutput)


class OutputStream(Generic[OutputT]):
    """Written by the router through the jobs, read by one consumer. Implements `frontend.http.push.Source`.

    `abandon` is called once if the consumer is no longer interested or the call has failed.
    """

    def __init__(self, jobs: int, abandon: Callable[[], None]) -> None:
        """`jobs`: how many will push an output that ends."""
        self._unfinished = jobs
        self._abandon = abandon
        self._buffer: list[OutputT] = []
        self._error: Exception | None = None
        self._wake: asyncio.Future[None] | None = None
        self._listener: Callable[[], None] | None = None
        self._expiry: asyncio.TimerHandle | None = None

    # --- the consumer's side ---

    async def outputs(self) -> list[OutputT]:
        """Everything that arrived since the last call, at least one; empty at the end. Raises the call's
        error."""
        while not self._buffer and self._unfinished and self._error is None:
            await self._changed()
        return self.take()

    def take(self) -> list[OutputT]:
        """Everything that arrived since the last call, without waiting. Raises the call's error once nothing
        is left before it."""
        if self._buffer:
            outputs, self._buffer = self._buffer, []
            return outputs
        if self._error is not None:
            raise self._error
        return []

    async def begun(self) -> None:
        """Wait until there is something to take. Raises the call's error."""
        while not self._buffer and self._unfinished and self._error is None:
            await self._changed()
        if self._error is not None:
            raise self._error

    @property
    def finished(self) -> bool:
        """Every job has ended and its outputs were taken."""
        return not self._buffer and not self._unfinished

    def listen(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` when there is more to take or the call has failed, in the turn of the event loop in
        which it happened. None: no longer."""
        self._listener = callback

    def cancel(self, error: Exception) -> None:
        """Stop every job, wherever it is; the consumer gets `error`."""
        if self._error is None and self._unfinished:
            self._error = error
            self._abandon()
            self.flush()

    def close(self) -> None:
        """The consumer is done; whatever still runs is cancelled."""
        self._listener = None
        self.cancel(ClientGone())
        if self._expiry is not None:
            self._expiry.cancel()

    async def _changed(self) -> None:
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    # --- the router's side ---

    def expires(self, expiry: asyncio.TimerHandle) -> None:
        """The timer to stop at the end, in place of an earlier one."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = expiry

    def push(self, output: OutputT) -> None:
        self._buffer.append(output)
        if output.ends:
            self._unfinished -= 1

    def flush(self) -> None:
        """Tell the consumer: once for everything that arrived together."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        elif self._listener is not None and (self._buffer or self._error is not None):
            self._listener()
