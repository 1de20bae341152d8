"""Responses that are generated while nobody waits, to be polled."""

import asyncio
import contextlib
import contextvars
import logging
import time
from collections.abc import Callable

import msgspec

from frontend.access.sight import asking, sight
from frontend.api.errors import presentable
from frontend.api.prompting import TurnSpec
from frontend.api.responses.builder import ResponseBuilder
from frontend.api.responses.event_log import EventLog, EventLogs
from frontend.api.responses.records import Record, Records, as_of, failed, is_live
from frontend.api.responses.stream import BeginTurn, collect, naming_params
from frontend.api.schema.responses import ResponseBody
from frontend.errors import (
    QueueFull,
    RequestCancelled,
    RequestTimeout,
    RequestTooLarge,
    ServerError,
    ShuttingDown,
)
from frontend.http.exchange import Exchange, unattended
from frontend.http.in_flight import InFlight

MAX_TASKS = 256
ROUTE = "/v1/responses"
_AGAIN_SECONDS = 0.2  # until the store is asked again
_LAST_WORDS_SECONDS = 10.0  # to store how a response ended

log = logging.getLogger("nacelle.api")


class _Job(msgspec.Struct):
    builder: ResponseBuilder
    task: "asyncio.Task[None]"

    def end(self, error: ServerError) -> None:
        """An operator ends it."""
        if not self.builder.ended:
            self.builder.fail(error)
            self.task.cancel()


class Background:
    """The background responses of this server."""

    def __init__(
        self, begin: BeginTurn, records: Records, seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        """None takes longer than `seconds`, waiting for the model included. `clock` returns Unix seconds."""
        self._begin = naming_params(begin)
        self._records = records
        self._seconds = seconds
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self.logs = EventLogs()
        self.in_flight = InFlight()  # where operators see what is being generated
        self._starting = 0
        self._closing = False

    @property
    def running(self) -> int:
        """The number of responses that are being generated."""
        return len(self._jobs)

    async def start(self, spec: TurnSpec, builder: ResponseBuilder, record: Record) -> None:
        """Returns when the record of the response, which is as it begins, is stored as queued. If the client
        asked for a stream, `logs` keeps the events from then on.

        Raises QueueFull, ShuttingDown, StoreUnavailable or RequestTooLarge.
        """
        if len(self._jobs) + self._starting >= MAX_TASKS:
            raise QueueFull(f"{MAX_TASKS} background responses are running already", retry_after=1)
        deadline = self._clock() + self._seconds + _LAST_WORDS_SECONDS
        self._starting += 1
        try:
            await self._records.save(msgspec.structs.replace(record, deadline=deadline))
        finally:
            self._starting -= 1
        if self._closing:
            raise ShuttingDown("the server is shutting down", retry_after=1)
        events = self._open_log(builder) if spec.streaming else None
        # In a context of its own: that of the request holds its client, who may leave.
        exchange = Exchange(
            record.response.id,
            time.monotonic(),
            sight().caller,
            ROUTE,
            model=spec.model,
            stream=spec.streaming,
        )
        task = asyncio.create_task(
            self._run_for(exchange, spec, builder, events), context=contextvars.Context()
        )
        job = self._jobs[record.response.id] = _Job(builder, task)
        exchange.end = job.end
        self.in_flight.add(exchange)

    def _open_log(self, builder: ResponseBuilder) -> EventLog:
        events = self.logs.open(builder.response.id, builder.short_heartbeat)
        events.append(builder.queue())
        return events

    def response(self, response_id: str) -> ResponseBody | None:
        """A response that is being generated here, as of now."""
        job = self._jobs.get(response_id)
        return None if job is None else job.builder.response

    def current(self, record: Record) -> ResponseBody:
        """A stored response as of now."""
        return self.response(record.response.id) or as_of(record, self._clock())

    async def cancel(self, response_id: str) -> None:
        """Returns when the response has ended, whoever was first."""
        job = self._jobs.get(response_id)
        if job is None:
            return
        if not job.builder.ended:
            job.builder.cancel()
            job.task.cancel()
        await asyncio.wait([job.task], timeout=_LAST_WORDS_SECONDS)

    async def close(self, seconds: float) -> None:
        """Let what runs finish within `seconds`; what does not is stored as failed."""
        self._closing = True
        if tasks := [job.task for job in self._jobs.values()]:
            await asyncio.wait(tasks, timeout=seconds)
            for job in self._jobs.values():
                if not job.builder.ended:
                    job.task.cancel()
            await asyncio.wait(tasks, timeout=_LAST_WORDS_SECONDS)

    async def _run_for(
        self, exchange: Exchange, spec: TurnSpec, builder: ResponseBuilder, events: EventLog | None
    ) -> None:
        """What is done later is still done with the rights of whoever asked, and on their account."""
        unattended.set(exchange)
        try:
            with asking(exchange.caller):
                await self._run(spec, builder, events)
        finally:
            exchange.end = None
            _note_end(exchange, builder.response)
            tokens = exchange.tokens() if exchange.tokens is not None else None
            self.in_flight.ended(exchange, time.monotonic() - exchange.began, tokens)

    async def _run(self, spec: TurnSpec, builder: ResponseBuilder, events: EventLog | None) -> None:
        """`events` is the log, where the client asked for a stream."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._generate(spec, builder, events)
        except asyncio.CancelledError:
            if not builder.ended:
                builder.fail(ShuttingDown("the server was shut down"))
        except TimeoutError:
            builder.fail(RequestTimeout(f"the response took longer than {self._seconds:g} seconds"))
        except Exception as error:
            builder.fail(presentable(error, "a background response"))
        try:
            await self._keep_end(builder.response)
        finally:
            del self._jobs[builder.response.id]
            if events is not None:
                try:
                    events.append(builder.announce())
                finally:
                    events.end()
                    self.logs.expire(builder.response.id)

    async def _generate(self, spec: TurnSpec, builder: ResponseBuilder, events: EventLog | None) -> None:
        turn = await self._begin(spec, None)
        try:
            begun = builder.begin()
            if events is not None:
                events.append(begun)
            await self._keep(builder.response)
            await collect(turn, builder, events.append if events is not None else None)
        finally:
            turn.close()

    async def _keep_end(self, response: ResponseBody) -> None:
        """Store how it ended, though the store may be away for a moment."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                for _ in range(round(_LAST_WORDS_SECONDS / _AGAIN_SECONDS)):
                    if await self._keep(response):
                        return
                    await asyncio.sleep(_AGAIN_SECONDS)

    async def _keep(self, response: ResponseBody) -> bool:
        """Store how far it has come, unless it was ended or deleted elsewhere. False: try again."""

        def changed(record: Record) -> Record | None:
            return msgspec.structs.replace(record, response=response) if is_live(record.response) else None

        try:
            await self._records.update(response.id, changed)
        except RequestTooLarge as error:
            if not response.output:
                return True  # nothing could be left out
            log.warning("the background response %s is too large to be stored", response.id)
            return await self._keep(failed(msgspec.structs.replace(response, output=[]), error.message))
        except ServerError as error:
            log.warning("could not store the background response %s: %s", response.id, error)
            return False
        return True


def _note_end(exchange: Exchange, response: ResponseBody) -> None:
    """Record how it ended, as for a request."""
    if exchange.cancelled is not None or response.status == "cancelled":
        exchange.fail(RequestCancelled.code)
    elif response.error is not None:
        exchange.fail(response.error.code)
    exchange.status, exchange.ended = 200, True
