"""Runs batches: makes the requests in their lines, and stores the results."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from frontend.batches.folder import InputLost
from frontend.batches.input import InputLine, Place, read_line
from frontend.batches.lifecycle import CancelAsked, Filed, Lost
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
Sleep = Callable[[float], Awaitable[None]]

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
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`max_requests` of all batches run at a time. `caller_of` returns the caller of a batch with their
        present rights. `sleep` waits seconds of the store's clock, until a batch expires."""
        self._store = store
        self._ask = ask
        self._caller_of = caller_of
        self._metrics = metrics
        self._slots = asyncio.Semaphore(max_requests)  # each batch waits for one at most: they take turns
        self._max_requests = max_requests
        self._max_line_bytes = max_line_bytes
        self._sleep = sleep
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
                elif self._caller(batch) is None:
                    await self._disown(batch)
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
        try:
            await self._work(batch)
        except* InputLost as lost:
            why = str(lost.exceptions[0])
            log.warning("batch %s cannot go on: %s", batch_id, why)
            message = f"The input of this batch is lost: {why}. Make a batch of the remaining requests."
            await self._end(batch, Lost(BatchError("input_file_lost", message, "input_file_id")))

    async def _work(self, found: BatchRecord) -> None:
        """Raises InputLost."""
        batch: BatchRecord | None = found
        if found.state is BatchState.VALIDATING:
            batch = await self._store.validate(found, self._max_line_bytes)
            if batch is not None and batch.state is BatchState.FAILED:
                await self._store.forget_input(batch.id)
        if batch is not None and batch.state is BatchState.IN_PROGRESS:
            batch = await self._answer(batch)
        if batch is None or not batch.is_live:
            return
        if batch.state in _END_OF:
            await self._end_unmade(batch, *_END_OF[batch.state])
        await self._end(batch, Filed(expired=batch.state is BatchState.IN_PROGRESS))

    async def _end(self, batch: BatchRecord, event: Filed | Lost) -> None:
        ended = await self._store.file_away(batch, event)
        if ended is not None:
            log.info(
                "batch %s %s: %d answered, %d failed", ended.id, ended.state, ended.completed, ended.failed
            )

    async def _answer(self, batch: BatchRecord) -> BatchRecord | None:
        """Make all requests, until the batch is cancelled or expires."""
        if batch.expires_at <= self._store.now:
            return batch
        cancelled = asyncio.ensure_future(self._cancelled[batch.id].wait())
        making = asyncio.ensure_future(self._make_all(batch))
        expired = asyncio.ensure_future(self._sleep(batch.expires_at - self._store.now))
        try:
            await asyncio.wait((making, cancelled, expired), return_when=asyncio.FIRST_COMPLETED)
            if making.done():
                making.result()
                return await self._store.all_answered(batch)
        finally:
            cancelled.cancel()
            expired.cancel()
            making.cancel()
            await asyncio.gather(making, return_exceptions=True)  # what fails now changes nothing
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
        caller = self._caller(batch)
        if caller is None:
            await self._disown(batch)
            lines.done()
            return
        [line] = await self._lines(batch, [attempt.place])
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

    def _caller(self, batch: BatchRecord) -> Caller | None:
        """Its caller with their present rights; None if they may no longer use models."""
        caller = self._caller_of(batch.caller)
        return caller if caller is not None and "inference" in caller.scopes else None

    async def _disown(self, batch: BatchRecord) -> None:
        """Cancel a batch whose caller may no longer use models."""
        gone = _TOKEN_GONE if batch.caller.by_token else _KEY_GONE
        await self._store.cancel_for(batch, CancelAsked(gone))
        self.cancel(batch.id)

    async def _lines(self, batch: BatchRecord, places: Sequence[Place]) -> list[InputLine]:
        """Raises InputLost."""
        lines = []
        for place, data in zip(places, await self._store.read_lines(batch.id, places), strict=True):
            try:
                lines.append(read_line(data))
            except (ValueError, RecursionError):
                raise InputLost(batch.id, f"has changed in line {place.number}") from None
        return lines

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
            lines = await self._lines(batch, places)
            results = [unanswered(line.custom_id, code, message) for line in lines]
            numbers = [place.number for place in places]
            await self._store.finish(batch.id, list(zip(numbers, results, strict=True)))
            self._metrics.batch_requests.labels("unmade").inc(len(results))


_KEY_GONE = BatchError(
    "api_key_revoked",
    "The API key that made this batch was revoked, has expired, or may no longer use models.",
)
_TOKEN_GONE = BatchError(
    "token_expired",
    "The token that made this batch has expired or is no longer accepted. "
    "Make a batch of the remaining requests with a token that is valid for longer, or with an API key.",
)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")
