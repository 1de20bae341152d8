"""Drives a workload against an OpenAI server, in a closed loop or at given arrival times."""

import asyncio
import time
from collections.abc import Iterator

import msgspec
import uvloop

from bench.client import Client, Response, clock
from bench.completions import PATHS, Endpoint, read_response, request_body
from bench.errors import ClientError
from bench.stats import RequestRecord
from bench.workload import Prompt, Workload


class Target(msgspec.Struct, frozen=True):
    """Where requests go. `deadline` is in seconds, for one request."""

    base_url: str
    model: str
    api_key: str | None = None
    endpoint: Endpoint = "chat"
    stream: bool = True
    deadline: float = 600.0


class Outcome(msgspec.Struct, frozen=True):
    """How one request ended. Decoded only after the run, so that decoding takes no CPU time from it."""

    started: float
    finished: float
    result: Response | ClientError


class Run(msgspec.Struct, frozen=True):
    """`client_busy` is the share of one core that this client used. Near 1, the client was the bottleneck."""

    records: list[RequestRecord]  # in the order in which requests finished
    client_busy: float


def run(target: Target, workload: Workload) -> Run:
    """Send the whole workload and wait for every answer."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes, client_busy = runner.run(_run(target, workload))
    return Run([read_outcome(outcome) for outcome in outcomes], client_busy)


def read_outcome(outcome: Outcome) -> RequestRecord:
    """The record of a request, succeeded or not."""
    failure = outcome.result
    if isinstance(failure, Response):
        try:
            return read_response(failure)
        except ClientError as error:
            failure = error
    return RequestRecord(outcome.started, outcome.finished, failure=failure.kind, detail=str(failure))


def encode(target: Target, workload: Workload, prompt: Prompt) -> bytes:
    return request_body(
        target.model,
        target.endpoint,
        prompt,
        workload.max_tokens,
        stream=target.stream,
        ignore_eos=workload.ignore_eos,
    )


async def _run(target: Target, workload: Workload) -> tuple[list[Outcome], float]:
    bodies = [encode(target, workload, prompt) for prompt in workload.prompts()]
    arrivals = workload.arrivals()
    client = Client(target.base_url, target.api_key)
    started, used = clock(), time.process_time()
    try:
        if arrivals is None:
            outcomes = await _closed_loop(client, target, bodies, workload.concurrency)
        else:
            outcomes = await _open_loop(client, target, bodies, arrivals)
    finally:
        client.close()
    return outcomes, (time.process_time() - used) / (clock() - started)


async def _closed_loop(
    client: Client, target: Target, bodies: list[bytes], concurrency: int
) -> list[Outcome]:
    """Keep `concurrency` requests in flight: replace each one as soon as it finishes."""
    outcomes: list[Outcome] = []
    waiting = iter(bodies)

    async def work(waiting: Iterator[bytes]) -> None:
        for body in waiting:
            outcomes.append(await _one(client, target, body))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(bodies))):
            group.create_task(work(waiting))
    return outcomes


async def _open_loop(
    client: Client, target: Target, bodies: list[bytes], arrivals: list[float]
) -> list[Outcome]:
    """Send each request at its arrival time, however many are in flight."""
    outcomes: list[Outcome] = []

    async def work(body: bytes) -> None:
        outcomes.append(await _one(client, target, body))

    start = clock()
    async with asyncio.TaskGroup() as group:
        for body, arrival in zip(bodies, arrivals, strict=True):
            await asyncio.sleep(max(0.0, start + arrival - clock()))
            group.create_task(work(body))
    return outcomes


async def _one(client: Client, target: Target, body: bytes) -> Outcome:
    started = clock()
    result: Response | ClientError
    try:
        result = await client.post(PATHS[target.endpoint], body, target.deadline)
    except ClientError as error:
        result = error
    return Outcome(started, clock(), result)
