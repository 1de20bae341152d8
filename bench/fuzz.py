"""`nacelle bench fuzz`: damaged requests over every route of a server, from a seed."""

import asyncio
import contextlib
import time
import urllib.request
import wave
from collections import Counter
from io import BytesIO
from random import Random
from typing import Any

import click
import msgspec

from bench.errors import RunFailed
from bench.fuzz_frames import defect_of_session, defect_of_socketio
from bench.mutations import Request, is_rare, mutated, seeds_of
from bench.server import Server, nacelle_server, pss_mib

STATED = (503, 504, 529)  # 5xx that the API states for what is no defect
_MODELS = ("smollm2", "minilm", "reranker", "whisper", "kokoro")  # of the examples
_READ_BYTES = 65536
_STREAM_SECONDS = 3.0  # then a stream without an end is left
_ANSWER_SECONDS = 90.0
_REQUEST_SECONDS = "60"  # then a text whose limit was damaged gets a 504
_KEPT_RESPONSES = "64"  # few enough that the store is full before the memory is judged
_LOAD_SECONDS = 300.0
_SAMPLE_SECONDS = 1.0
_WARM_UP = 0.25  # of the requests
_SHOWN_BYTES = 400
_SESSIONS = 0.02  # of the requests are WebSockets
_SESSION_ROUTES = (("/v1/realtime", defect_of_session), ("/socket.io", defect_of_socketio))
_CONTINUE = b"HTTP/1.1 100"


class Failure(msgspec.Struct, frozen=True):
    status: int  # 0: no answer
    request: str
    answer: str


class Sample(msgspec.Struct, frozen=True):
    """Memory at a time, in seconds; PSS of the frontend and the largest host, in MiB."""

    at: float
    done: int
    frontend: float
    largest_host: float


class Found(msgspec.Struct):
    statuses: Counter[int] = msgspec.field(default_factory=Counter)
    failures: list[Failure] = []
    stated: list[Failure] = []  # 5xx that are no defect by their status
    samples: list[Sample] = []

    def growth(self, requests: int) -> float:
        """MiB per minute of the frontend after the warm-up: the slope of the least squares."""
        points = [(s.at / 60, s.frontend) for s in self.samples if s.done >= requests * _WARM_UP]
        if len(points) < 2:
            return 0.0
        mean_x = sum(x for x, _ in points) / len(points)
        mean_y = sum(y for _, y in points) / len(points)
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


@click.command("fuzz", short_help="Send damaged requests to every route; report 5xx, deaths and memory.")
@click.argument("models", nargs=-1, required=True)
@click.option("--requests", type=click.IntRange(1), default=20_000, show_default=True, help="Total number.")
@click.option(
    "--concurrency", type=click.IntRange(1), default=8, show_default=True, help="Requests in flight."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the damage.")
@click.option("--soft-memory-gib", type=float, help="Also check that hosts stay within this limit plus 10 %.")
def fuzz(
    models: tuple[str, ...], requests: int, concurrency: int, seed: int, soft_memory_gib: float | None
) -> None:
    """Serve MODELS and send them damaged requests.

    Exits with 1 if an answer is a 5xx other than 503, 504 and 529, if a whole request gets no answer, if a
    host dies, or if memory exceeds its limit.
    """
    options = ["--session-max-entries", _KEPT_RESPONSES, "--request-timeout-seconds", _REQUEST_SECONDS]
    if soft_memory_gib is not None:
        options += ["--soft-memory-gib", str(soft_memory_gib)]
    with nacelle_server(*models, *options) as server:
        server.wait_for("/ready", _LOAD_SECONDS)
        before = _restarts(server)
        found = asyncio.run(_run(server, requests, concurrency, seed, models))
        died = _restarts(server) - before
    if not _report(found, requests, died, soft_memory_gib):
        raise click.exceptions.Exit(1)


async def _run(server: Server, requests: int, concurrency: int, seed: int, models: tuple[str, ...]) -> Found:
    served = {name: name for name in _MODELS if name in models}
    seeds = seeds_of(_document(server), served or {"smollm2": _first_model(server)}, _recording())
    found, numbers = Found(), iter(range(requests))

    async def client() -> None:
        for number in numbers:
            random = Random(f"{seed}/{number}")  # noqa: S311 - so that one request can be sent again
            if random.random() < _SESSIONS:
                await _try_session(server.port, random, found)
                continue
            request = random.choice(seeds)
            while is_rare(request, random):
                request = random.choice(seeds)
            await _try(server.port, mutated(request, random), found)

    watching = asyncio.create_task(_watch(server, found))
    await asyncio.gather(*(client() for _ in range(concurrency)))
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching  # raises what ended it early: without samples, no growth would be found
    return found


async def _try(port: int, request: Request, found: Found) -> None:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            answer = await _answer(port, request)
    except (TimeoutError, OSError) as error:
        answer = repr(error).encode()
    status = int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0
    found.statuses[status] += 1
    is_missing = status == 0 and not request.is_cut  # else it is the client that left
    failure = Failure(status, _shown(request.encoded()), _shown(answer))
    if (status >= 500 and status not in STATED) or is_missing:
        found.failures.append(failure)
    elif status >= 500:
        found.stated.append(failure)


async def _try_session(port: int, random: Random, found: Found) -> None:
    path, session = random.choice(_SESSION_ROUTES)
    defect = await session(port, random)
    found.statuses[101] += 1
    if defect is not None:
        found.failures.append(Failure(101, f"GET {path}", _shown(defect.encode())))


async def _answer(port: int, request: Request) -> bytes:
    """The beginning of the answer; the rest of it is read to its end, or for some seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.encoded())
        await writer.drain()
        if request.is_cut:
            writer.write_eof()
        begin = await reader.read(_READ_BYTES)
        if begin.startswith(_CONTINUE):
            begin = begin.partition(b"\r\n\r\n")[2] or await reader.read(_READ_BYTES)
        try:
            async with asyncio.timeout(_STREAM_SECONDS):
                while await reader.read(_READ_BYTES):
                    pass
        except TimeoutError:
            pass
        return begin
    finally:
        writer.close()


async def _watch(server: Server, found: Found) -> None:
    started = time.monotonic()
    while True:
        largest_host = await asyncio.to_thread(largest_pss_mib, server)
        frontend = await asyncio.to_thread(pss_mib, server.pid)
        done = found.statuses.total()
        found.samples.append(Sample(time.monotonic() - started, done, frontend, largest_host))
        await asyncio.sleep(_SAMPLE_SECONDS)


def largest_pss_mib(server: Server) -> float:
    """Of the hosts that are alive: one may end between the listing and the reading of its memory."""
    sizes = [0.0]
    for host in server.hosts():
        with contextlib.suppress(OSError, StopIteration):  # no file, or an empty one
            sizes.append(pss_mib(host.pid))
    return max(sizes)


def _report(found: Found, requests: int, died: float, soft_memory_gib: float | None) -> bool:
    """Print what was found; return whether all is well."""
    click.echo(
        "statuses: " + ", ".join(f"{status or 'none'}: {n}" for status, n in sorted(found.statuses.items()))
    )
    for failure in found.failures[:20]:
        click.echo(f"{failure.status or 'no answer'}: {failure.request}\n  -> {failure.answer}")
    for failure in found.stated[:5]:
        click.echo(f"stated {failure.status}: {failure.request}\n  -> {failure.answer}")
    growth = found.growth(requests)
    largest = max((sample.largest_host for sample in found.samples), default=0.0)
    click.echo(f"{len(found.failures)} failures; {died:g} restarts of hosts")
    click.echo(f"frontend: {growth:+.2f} MiB a minute after warm-up; largest host: {largest:.0f} MiB")
    within = soft_memory_gib is None or largest <= soft_memory_gib * 1024 * 1.1
    return not found.failures and died == 0 and growth < 1 and within


def _document(server: Server) -> Any:
    return msgspec.json.decode(_fetched(server, "/openapi.json"))


def _first_model(server: Server) -> str:
    name: str = msgspec.json.decode(_fetched(server, "/v1/models"))["data"][0]["id"]
    return name


def _fetched(server: Server, path: str) -> bytes:
    with urllib.request.urlopen(server.base_url + path, timeout=60) as answer:  # noqa: S310 - our own server
        data: bytes = answer.read()
    return data


def _restarts(server: Server) -> float:
    return restarts_in(_fetched(server, "/metrics").decode())


def restarts_in(metrics: str) -> float:
    """Before the first restart, only the description of the metric is there. Raises RunFailed without it."""
    name = "nacelle_host_restarts_total"
    if f"# TYPE {name} " not in metrics:
        raise RunFailed(f"the server has no metric {name}")
    found = [line for line in metrics.splitlines() if line.startswith(name)]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def _recording() -> bytes:
    """Half a second of silence as WAV."""
    file = BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(16_000)
        recording.writeframes(bytes(16_000))
    return file.getvalue()


def _shown(data: bytes) -> str:
    text = data[:_SHOWN_BYTES].decode("utf-8", "backslashreplace")
    return repr(text) + ("…" if len(data) > _SHOWN_BYTES else "")
