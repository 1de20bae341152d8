"""`nacelle bench hostile`: clients that stall, stop half-way or leave, and how the server is afterwards."""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from random import Random

import click

from bench.server import nacelle_server

_LOAD_SECONDS = 300.0
_AFTERWARDS_SECONDS = 5.0
_HEALTH_SECONDS = 2.0  # within which /health answers
_SLOWER = 3.0  # than idle, at most
_LEAST_SECONDS = 0.1  # that a fresh request may take, whatever the idle latency is
_AT_ONCE = 64
_HEAD = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


class _Target:
    """One server, and what hostile clients do to it."""

    def __init__(self, port: int, model: str, random: Random) -> None:
        self.port, self._model, self._random = port, model, random

    async def connect(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return reader, writer

    def request(self, tokens: int, stream: bool) -> bytes:
        messages = [{"role": "user", "content": f"Count. {self._random.random()}"}]
        fields = {"model": self._model, "messages": messages, "max_tokens": tokens, "stream": stream}
        body = json.dumps({**fields, "ignore_eos": True}).encode()
        return f"{_HEAD}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def get(self, path: str) -> bytes:
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        reader, writer = await self.connect(head.encode())
        try:
            return await reader.read(-1)
        finally:
            writer.close()

    async def latency(self) -> float:
        """Of a whole request of one token, in seconds."""
        started = time.monotonic()
        reader, writer = await self.connect(self.request(1, stream=False))
        answer = await reader.read(-1)
        writer.close()
        if b" 200 " not in answer[:20]:
            raise ConnectionError(f"a fresh request got {answer[:200]!r}")
        return time.monotonic() - started

    async def slow_loris(self, count: int) -> None:
        """Heads that arrive byte by byte."""
        sockets = [(await self.connect())[1] for _ in range(count)]
        for letter in _HEAD[:20].encode():
            for writer in sockets:
                writer.write(bytes([letter]))
            await asyncio.sleep(0.1)
        _close(sockets)

    async def half_bodies(self, count: int) -> None:
        sockets = [(await self.connect(self.request(4, stream=True)[:-10]))[1] for _ in range(count)]
        await asyncio.sleep(2)
        _close(sockets)

    async def idle_connections(self, count: int) -> None:
        sockets = [(await self.connect())[1] for _ in range(count)]
        await asyncio.sleep(2)
        _close(sockets)

    async def cut_streams(self, count: int) -> None:
        """Streams whose clients leave before, during or after the first tokens."""
        numbers = iter(range(count))

        async def client() -> None:
            for _ in numbers:
                with contextlib.suppress(OSError):
                    reader, writer = await self.connect(self.request(64, stream=True))
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(
                            reader.read(self._random.randrange(1, 4000)), self._random.random() / 2
                        )
                    writer.transport.abort()

        await asyncio.gather(*(client() for _ in range(_AT_ONCE)))


def _close(writers: list[asyncio.StreamWriter]) -> None:
    for writer in writers:
        writer.transport.abort()


@click.command("hostile", short_help="Attack a server with stalling and leaving clients.")
@click.argument("model")
@click.option(
    "--connections", type=click.IntRange(1), default=1000, show_default=True, help="Idle or slow ones."
)
@click.option(
    "--streams", type=click.IntRange(1), default=5000, show_default=True, help="Streams that are cut."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of where streams are cut.")
def hostile(model: str, connections: int, streams: int, seed: int) -> None:
    """Serve MODEL and attack it.

    Exits with 1 if, 5 seconds after an attack, a fresh request is slow or requests still run, or if /health
    failed to answer within 2 seconds at any time.
    """
    with nacelle_server(model, "--name", "attacked") as server:
        server.wait_for("/ready", _LOAD_SECONDS)
        target = _Target(server.port, "attacked", Random(seed))  # noqa: S311 - so that a run can be repeated
        if not asyncio.run(_run(target, connections, streams)):
            raise click.exceptions.Exit(1)


async def _run(target: _Target, connections: int, streams: int) -> bool:
    idle = sorted([await target.latency() for _ in range(10)])[5]
    click.echo(f"idle: {idle * 1000:.0f} ms")
    attacks: list[tuple[str, Callable[[int], Awaitable[None]], int]] = [
        ("slow heads", target.slow_loris, connections),
        ("half bodies", target.half_bodies, connections),
        ("idle connections", target.idle_connections, connections),
        ("cut streams", target.cut_streams, streams),
    ]
    passed = True
    for name, attack, count in attacks:
        health: list[float] = []
        probing = asyncio.create_task(_probe(target, health))
        await attack(count)
        recovered, latency, running = await _recovery(target, idle)
        probing.cancel()
        slowest = max(health, default=_HEALTH_SECONDS)  # no answer at all is no success
        has_passed = recovered and slowest < _HEALTH_SECONDS
        passed &= has_passed
        click.echo(
            f"{name} ({count}): a fresh request takes {latency * 1000:.0f} ms, {running:g} still run, "
            f"/health at most {slowest * 1000:.0f} ms{'' if has_passed else '  FAILED'}"
        )
    return passed


async def _probe(target: _Target, seconds: list[float]) -> None:
    while True:
        started = time.monotonic()
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                answer = await target.get("/health")
            seconds.append(time.monotonic() - started if b" 200 " in answer[:20] else _HEALTH_SECONDS)
        except (OSError, TimeoutError):
            seconds.append(_HEALTH_SECONDS)
        await asyncio.sleep(0.1)


async def _recovery(target: _Target, idle: float) -> tuple[bool, float, float]:
    """Whether the server is as before within some seconds; the last latency, and the requests that run."""
    until = time.monotonic() + _AFTERWARDS_SECONDS
    while True:
        is_late = time.monotonic() > until  # the request that is sent now counts
        running = running_in(await target.get("/metrics"))
        latency = await target.latency()
        recovered = running == 0 and latency < max(_SLOWER * idle, _LEAST_SECONDS)
        if recovered or is_late:
            return recovered, latency, running
        await asyncio.sleep(0.2)


def running_in(metrics: bytes) -> float:
    """Requests that hosts hold or that wait. Raises ConnectionError where the answer does not report them."""
    names = ("nacelle_requests_running", "nacelle_requests_waiting", "vllm:num_requests_")
    lines = [line for line in metrics.decode().splitlines() if line.startswith(names)]
    if b" 200 " not in metrics[:20] or not lines:
        raise ConnectionError(f"/metrics answered {metrics[:200]!r}")
    return sum(float(line.rpartition(" ")[2]) for line in lines)
