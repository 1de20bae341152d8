"""`nacelle bench ipc`: what it costs to hand bytes to another process, by arenas and by other ways."""

import contextlib
import os
import time
import zlib
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from bench import ipc_ways, noise, report
from bench.errors import RunFailed
from bench.figures import Pair
from bench.ipc_ways import Exchange
from bench.noise import Noise
from bench.options import json_option, positive_numbers
from bench.stats import median

WAYS = {
    "arena": ipc_ways.arena,
    "ZeroMQ frame": ipc_ways.frames,
    "pipe": ipc_ways.pipe,
    "mp.Queue, pickle": ipc_ways.pickled,
}
_OURS = next(iter(WAYS))
_BYTES_PER_ROUND = 16 * 2**20  # of each way: one round trip of large payloads, many of small ones
_MOST_TRIPS = 200


class Timing(msgspec.Struct, frozen=True):
    """One way at one size: the mean seconds of a round trip, one entry per round."""

    way: str
    seconds: list[float]

    @property
    def median(self) -> float:
        return median(self.seconds)


class SizeResult(msgspec.Struct, frozen=True):
    """All ways at one size. Entry i of each way is of the same round."""

    payload_bytes: int
    trips: int  # round trips of each way in a round
    timings: list[Timing]  # the arena first

    def pairs(self, other: Timing) -> list[Pair]:
        """The arena and another way, round by round."""
        ours = self.timings[0].seconds
        return [Pair(mine, theirs) for mine, theirs in zip(ours, other.seconds, strict=True)]


class IpcResults(msgspec.Struct, frozen=True):
    """The JSON file's results."""

    rounds: int
    others_busy: float  # share of the machine that other processes used meanwhile, 0 to 1
    sizes: list[SizeResult]


@click.command("ipc", short_help="Compare shared-memory arenas with other ways between processes.")
@click.option(
    "--sizes",
    default="4,16,64,256,1024,4096,16384,65536",
    show_default=True,
    help="Payload sizes in KiB, comma-separated.",
)
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="Alternations per size.")
@json_option
def ipc(sizes: str, rounds: int, json_path: Path | None) -> None:
    """Compare ways for bytes to reach another process: through an arena, in a ZeroMQ frame, through a pipe,
    and pickled through a multiprocessing queue.

    In one round trip, the producer hands over bytes that it has in its memory; the consumer, another process,
    reads all of them (it copies them into its own memory, as an engine reads its input); and the producer
    receives an acknowledgement, which also returns the lease. One payload is in flight at a time. Both sides
    block while they wait, so a server's event loop is not included. Every way is checked to deliver the bytes
    unchanged. Figures are medians over rounds; each round measures every way.
    """
    console = Console()
    machine = Noise()
    try:
        found = measure([kib * 1024 for kib in positive_numbers(sizes)], rounds)
    except RunFailed as error:
        raise click.ClickException(str(error)) from error
    console.print(table(found))
    others_busy = machine.share()
    if warning := noise.warning(others_busy):
        console.print(warning, style="red")
    results = IpcResults(rounds, others_busy, found)
    console.print(f"JSON: {report.write(results, 'ipc', json_path)}", markup=False)


def measure(sizes: list[int], rounds: int) -> list[SizeResult]:
    """Each way's consumer stays alive, waiting, while the others have their turn. Raises RunFailed."""
    with contextlib.ExitStack() as stack:
        exchanges = {name: stack.enter_context(way(max(sizes))) for name, way in WAYS.items()}
        return [_measure_size(exchanges, size, rounds) for size in sizes]


def _measure_size(exchanges: dict[str, Exchange], size: int, rounds: int) -> SizeResult:
    payload = os.urandom(size)
    trips = max(1, min(_MOST_TRIPS, _BYTES_PER_ROUND // size))
    for name, exchange in exchanges.items():  # warms up, too
        exchange(payload)
        if exchange(b"") != zlib.crc32(payload):
            raise RunFailed(f"{name}: {size} bytes arrived changed")
    seconds: dict[str, list[float]] = {name: [] for name in exchanges}
    names = list(exchanges)
    for _ in range(rounds):
        for name in names:
            seconds[name].append(_round_trip(exchanges[name], payload, trips))
        names.append(names.pop(0))  # so that each follows each
    return SizeResult(size, trips, [Timing(name, seconds[name]) for name in exchanges])


def _round_trip(exchange: Exchange, payload: bytes, trips: int) -> float:
    """The mean seconds of a round trip."""
    exchange(payload)  # wakes the consumer up, after the others' turns
    started = time.perf_counter()
    for _ in range(trips):
        exchange(payload)
    return (time.perf_counter() - started) / trips


def table(found: list[SizeResult]) -> Table:
    shown = Table(
        "payload",
        "way",
        "round trip",
        "GiB/s",
        f"{_OURS} ÷ way",
        "range",
        title="A payload to another process and its acknowledgement back, medians",
    )
    for column in shown.columns[1:]:
        column.no_wrap = True
        column.justify = "left" if column.header == "way" else "right"
    for result in found:
        shown.add_section()
        for timing in result.timings:
            ratios = [pair.ratio for pair in result.pairs(timing)]
            compared = timing.way != _OURS
            shown.add_row(
                "" if compared else _size(result.payload_bytes),
                timing.way,
                _time(timing.median),
                f"{result.payload_bytes / timing.median / 2**30:.2f}",
                f"{median(ratios):.2f}" if compared else "",
                f"{min(ratios):.2f} – {max(ratios):.2f}" if compared else "",
            )
    return shown


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


def _size(size: int) -> str:
    return f"{size // 2**20} MiB" if size % 2**20 == 0 else f"{size // 2**10} KiB"
