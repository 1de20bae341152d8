"""Drives a workload against an OpenAI server, in a closed loop or at given arrival times."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import msgspec
import uvloop

from bench import speech, transcripts
from bench.client import JSON_TYPE, Client, Response, clock
from bench.completions import PATHS, Endpoint, read_response, request_body
from bench.errors import ClientError
from bench.forms import CONTENT_TYPE as FORM_TYPE
from bench.pictures import data_urls
from bench.speech import SpeechWorkload
from bench.stats import RequestRecord
from bench.transcripts import TranscriptionWorkload, transcription_body
from bench.vectors import PATHS as VECTOR_PATHS
from bench.vectors import VectorWorkload, read_record
from bench.workload import Prompt, Workload

AnyWorkload = Workload | VectorWorkload | TranscriptionWorkload | SpeechWorkload


class Target(msgspec.Struct, frozen=True):
    """Where requests go. `deadline` is in seconds, for one request; `endpoint` is for text, and `stream` for
    text and transcription."""

    base_url: str
    model: str
    api_key: str | None = None
    endpoint: Endpoint = "chat"
    stream: bool = True
    deadline: float = 600.0
    idempotent: bool = False  # each request with an Idempotency-Key of its own


class Outcome(msgspec.Struct, frozen=True):
    """How one request ended. Decoded only after the run, so that decoding takes no CPU time from it."""

    started: float
    finished: float
    result: Response | ClientError


Send = Callable[[bytes], Awaitable[Outcome]]


class Run(msgspec.Struct, frozen=True):
    """`client_busy` is the share of one core that this client used. Near 1, the client was the bottleneck."""

    records: list[RequestRecord]  # in the order in which requests finished
    client_busy: float


class Requests(msgspec.Struct, frozen=True):
    """A workload in the form in which it is sent. `read` raises BadAnswer."""

    path: str
    bodies: list[bytes]
    arrivals: list[float] | None  # seconds after the start; None for a closed loop
    concurrency: int
    read: Callable[[Response], RequestRecord]
    content_type: str = JSON_TYPE


def run(target: Target, workload: AnyWorkload) -> Run:
    """Send the whole workload and wait for every answer."""
    requests = requests_of(target, workload)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes, client_busy = runner.run(_run(target, requests))
    return Run([read_outcome(outcome, requests.read) for outcome in outcomes], client_busy)


def requests_of(target: Target, workload: AnyWorkload) -> Requests:
    """The workload's requests, encoded. Raises OSError and RunFailed if there is no recording for them."""
    arrivals, concurrency = workload.arrivals(), workload.concurrency
    content_type = JSON_TYPE
    read: Callable[[Response], RequestRecord] = read_response
    if isinstance(workload, VectorWorkload):
        path, bodies = VECTOR_PATHS[workload.task], workload.bodies(target.model)
        read = partial(read_record, inputs=workload.inputs)
    elif isinstance(workload, SpeechWorkload):
        path, bodies, read = speech.PATH, workload.bodies(target.model), speech.read_record
    elif isinstance(workload, TranscriptionWorkload):
        recordings = workload.recordings()
        path, content_type = transcripts.PATH, FORM_TYPE
        bodies = [transcription_body(target.model, one, stream=target.stream) for one in recordings]
        read = partial(transcripts.read_record, seconds=recordings[0].seconds)
    else:
        path = PATHS[target.endpoint]
        bodies = [_encode(target, workload, index, prompt) for index, prompt in enumerate(workload.prompts())]
    return Requests(path, bodies, arrivals, concurrency, read, content_type)


def read_outcome(outcome: Outcome, read: Callable[[Response], RequestRecord]) -> RequestRecord:
    """The record of a request, succeeded or not."""
    failure = outcome.result
    if isinstance(failure, Response):
        try:
            return read(failure)
        except ClientError as error:
            failure = error
    return RequestRecord(outcome.started, outcome.finished, failure=failure.kind, detail=str(failure))


def _encode(target: Target, workload: Workload, index: int, prompt: Prompt) -> bytes:
    return request_body(
        target.model,
        target.endpoint,
        prompt,
        workload.max_tokens,
        stream=target.stream,
        ignore_eos=workload.ignore_eos,
        images=data_urls(workload.seed, index, workload.images, workload.image_size),
    )


async def _run(target: Target, requests: Requests) -> tuple[list[Outcome], float]:
    client = Client(target.base_url, target.api_key, idempotent=target.idempotent)
    send = partial(_one, client, requests.path, requests.content_type, target.deadline)
    started, used = clock(), time.process_time()
    try:
        if requests.arrivals is None:
            outcomes = await _closed_loop(send, requests.bodies, requests.concurrency)
        else:
            outcomes = await _open_loop(send, requests.bodies, requests.arrivals)
    finally:
        client.close()
    return outcomes, (time.process_time() - used) / (clock() - started)


async def _closed_loop(send: Send, bodies: list[bytes], concurrency: int) -> list[Outcome]:
    """Keep `concurrency` requests in flight: replace each one as soon as it finishes."""
    outcomes: list[Outcome] = []
    waiting = iter(bodies)

    async def work(waiting: Iterator[bytes]) -> None:
        for body in waiting:
            outcomes.append(await send(body))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(concurrency, len(bodies))):
            group.create_task(work(waiting))
    return outcomes


async def _open_loop(send: Send, bodies: list[bytes], arrivals: list[float]) -> list[Outcome]:
    """Send each request at its arrival time, however many are in flight."""
    outcomes: list[Outcome] = []

    async def work(body: bytes) -> None:
        outcomes.append(await send(body))

    start = clock()
    async with asyncio.TaskGroup() as group:
        for body, arrival in zip(bodies, arrivals, strict=True):
            await asyncio.sleep(max(0.0, start + arrival - clock()))
            group.create_task(work(body))
    return outcomes


async def _one(client: Client, path: str, content_type: str, deadline: float, body: bytes) -> Outcome:
    started = clock()
    result: Response | ClientError
    try:
        result = await client.post(path, body, deadline, content_type)
    except ClientError as error:
        result = error
    return Outcome(started, clock(), result)
