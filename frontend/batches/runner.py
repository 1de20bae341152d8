"""Runs batches: makes the requests in their lines, and stores the results."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from frontend.batches.input import read_line
from frontend.batches.lifecycle import CancelAsked
from frontend.batches.lines import Attempt, Lines
from frontend.batches.output import Result, answered, refusal, refused, seconds_to_retry, unanswered
from frontend.batches.record import LIVE, BatchError, BatchRecord, BatchState
from frontend.batches.runner_store import RunnerStore, close_lock
from frontend.caller import Caller
from frontend.errors import ServerError, StoreUnavailable
from frontend.http.identity import request_id
from frontend.http.inside import Answer
from frontend.observability.metrics import Metrics

Ask = Callable[[Caller, str, bytes, str], Awaitable[Answer]]  # caller, path, body, request id
CallerOf = Callable[[Caller], Caller | None]

_SCAN_SECONDS = 5.0  # other servers may share the folder, or end
_SWEEP_SECONDS = 60.0
_FAILED_SECONDS = 30.0  # until a batch is tried again that the store could not run
_MAX_RUNNING = 64  # batches; others wait
_UNMADE = 500  # lines that are ended at once
_END_OF = {
    BatchState.CANCELLING: ("batch_cancelled", "The batch was cancelled before this request was answered."),
    BatchState.IN_PROGRESS: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
}

log = logging.getLogger("nacelle.batches")


class Runner:
    def __init__(
        self,
        store: RunnerStore,
        ask: Ask,
        caller_of: CallerOf,
        metrics: Metrics,
        max_requests: int,
        max_line_bytes: int,
    ) -> None:
        """`max_requests` of all batches run at a time. `caller_of` has who made a batch as they are now."""
        self._store = store
        self._ask = ask
        self._caller_of = caller_of
        self._metrics = metrics
        self._slots = asyncio.Semaphore(max_requests)  # each batch waits for one at most: they take turns
        self._max_requests = max_requests
        self._max_line_bytes = max_line_bytes
        self._running: dict[str, asyncio.Task[None]] = {}
        self._cancelled: dict[str, asyncio.Event] = {}
        self._not_before: dict[str, float] = {}
        self._wake = asyncio.Event()

    def look(self) -> None:
        """There is a new batch."""
        self._wake.set()

    def cancel(self, batch_id: str) -> None:
        """It was cancelled in the store."""
        if (event := self._cancelled.get(batch_id)) is not None:
            event.set()
        self._wake.set()

    async def run(self) -> None:
        """Run until cancelled. Requests that are running then are repeated by the next server."""
        swept = 0.0
        try:
            while True:
                self._wake.clear()
                if self._store.is_used:  # else nothing is written
                    swept = await self._look_once(swept)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_SCAN_SECONDS):
                        await self._wake.wait()
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look_once(self, swept: float) -> float:
        """Look for work. `swept`: when expired files were last removed, 0: never. Returns its new value."""
        with contextlib.suppress(StoreUnavailable):  # it is in the log
            if not swept:
                await self._store.remove_orphans()
            if not swept or time.monotonic() - swept >= _SWEEP_SECONDS:
                swept = time.monotonic()
                await self._store.sweep()
            await self._scan()
        return swept

    async def _scan(self) -> None:
        live = await self._store.live()
        self._metrics.batch_states({state: [b.state for b in live].count(state) for state in sorted(LIVE)})
        for batch in live:
            if batch.id in self._running:
                if batch.state is BatchState.CANCELLING:  # perhaps by another server
                    self._cancelled[batch.id].set()
            elif (
                len(self._running) < _MAX_RUNNING and self._not_before.get(batch.id, 0.0) <= time.monotonic()
            ):
                self._not_before.pop(batch.id, None)
                if (lock := await self._store.lock(batch.id)) is not None:
                    self._cancelled[batch.id] = asyncio.Event()
                    self._running[batch.id] = asyncio.create_task(self._hold(batch.id, lock))

    async def _hold(self, batch_id: str, lock: int) -> None:
        try:
            await self._run(batch_id)
        except* StoreUnavailable:
            self._not_before[batch_id] = time.monotonic() + _FAILED_SECONDS
            log.warning("batch %s waits for %g seconds", batch_id, _FAILED_SECONDS)
        except* Exception:
            self._not_before[batch_id] = time.monotonic() + _FAILED_SECONDS
            log.exception("unexpected error in batch %s", batch_id)
        finally:
            close_lock(lock)
            del self._running[batch_id], self._cancelled[batch_id]
            self._wake.set()

    async def _run(self, batch_id: str) -> None:
        """From whatever state it is in to its end."""
        batch = await self._store.take_over(batch_id)
        if batch is None:  # another server has ended it meanwhile
            await self._store.forget_input(batch_id)
            return
        if batch.state is BatchState.VALIDATING:
            batch = await self._store.validate(batch, self._max_line_bytes)
            if batch is not None and batch.state is BatchState.FAILED:
                await self._store.forget_input(batch_id)
        if batch is not None and batch.state is BatchState.IN_PROGRESS:
            batch = await self._answer(batch)
        if batch is None or not batch.is_live:
            return
        if batch.state in _END_OF:
            await self._end_unmade(batch, *_END_OF[batch.state])
        ended = await self._store.file_away(batch, expired=batch.state is BatchState.IN_PROGRESS)
        if ended is not None:
            log.info(
                "batch %s %s: %d answered, %d failed", ended.id, ended.state, ended.completed, ended.failed
            )

    async def _answer(self, batch: BatchRecord) -> BatchRecord | None:
        """Make all requests, unless the batch is cancelled or expires before."""
        if batch.expires_at <= self._store.now:
            return batch
        cancelled = asyncio.ensure_future(self._cancelled[batch.id].wait())
        making = asyncio.ensure_future(self._make_all(batch))
        try:
            seconds = max(0.0, batch.expires_at - self._store.now)
            await asyncio.wait((making, cancelled), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                making.result()
                return await self._store.all_answered(batch)
        finally:
            cancelled.cancel()
            making.cancel()
            await asyncio.wait([making])
        return await self._store.current(batch.id)

    async def _make_all(self, batch: BatchRecord) -> None:
        lines = Lines(lambda after, limit: self._store.pending(batch.id, after, limit), time.monotonic)
        allowed = asyncio.Semaphore(batch.caller.limits.max_concurrent or self._max_requests)
        async with asyncio.TaskGroup() as group:
            while (attempt := await lines.next()) is not None:
                await allowed.acquire()
                await self._slots.acquire()
                task = group.create_task(self._make(batch, lines, attempt))
                task.add_done_callback(lambda _: self._slots.release())
                task.add_done_callback(lambda _: allowed.release())

    async def _make(self, batch: BatchRecord, lines: Lines, attempt: Attempt) -> None:
        caller = self._caller_of(batch.caller)
        if caller is None:
            await self._store.cancel_for(batch, CancelAsked(_GONE))
            self._cancelled[batch.id].set()
            lines.done()
            return
        line = read_line(await self._store.read_line(batch.id, attempt.place))
        outcome = await self._attempt(
            caller, batch.endpoint, line.custom_id, bytes(line.body), attempt.number
        )
        if isinstance(outcome, float):
            self._metrics.batch_requests.labels("retried").inc()
            lines.put_back(attempt, outcome)
            return
        # What is answered is kept, also if the batch is cancelled now.
        await asyncio.shield(self._store.finish(batch.id, [(attempt.place.number, outcome)]))
        self._metrics.batch_requests.labels("failed" if outcome.failed else "completed").inc()
        lines.done()

    async def _attempt(
        self, caller: Caller, path: str, custom_id: str, body: bytes, number: int
    ) -> Result | float:
        """What became of a request, or the seconds to wait before the next attempt."""
        own_id = request_id(None)
        if (reason := refusal(body)) is not None:
            return refused(custom_id, path, reason, own_id)
        try:
            answer = await self._ask(caller, path, body, own_id)
        except ServerError as error:
            return refused(custom_id, path, error, own_id)
        except Exception:
            log.exception("unexpected error in a request of a batch to %s", path)
            return unanswered(custom_id, "internal_error", "The server failed; its log has the details.")
        wait = seconds_to_retry(answer.status, _text(answer.header(b"retry-after")), number)
        if answer.header(b"x-should-retry") == b"false":  # no limit will ever have room for it
            wait = None
        return answered(custom_id, answer.status, own_id, answer.body) if wait is None else wait

    async def _end_unmade(self, batch: BatchRecord, code: str, message: str) -> None:
        while places := await self._store.pending(batch.id, 0, _UNMADE):
            lines = [read_line(await self._store.read_line(batch.id, place)) for place in places]
            results = [unanswered(line.custom_id, code, message) for line in lines]
            numbers = [place.number for place in places]
            await self._store.finish(batch.id, list(zip(numbers, results, strict=True)))
            self._metrics.batch_requests.labels("unmade").inc(len(results))


_GONE = BatchError("api_key_revoked", "The API key that made this batch is no longer valid.")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
