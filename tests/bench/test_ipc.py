"""`nacelle bench ipc`: every way delivers the bytes, no consumer outlives it, and ratios are per round."""

import io
import os
import subprocess
import sys
import time
import zlib
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest
from click.testing import CliRunner
from rich.console import Console

from bench.cli import bench
from bench.errors import RunFailed
from bench.ipc import WAYS, IpcResults, SizeResult, Timing, _measure_size, table
from bench.ipc_ways import Exchange
from bench.report import Report

LARGEST = 3 * 2**20
GONE_SECONDS = 30.0


@pytest.mark.parametrize("way", WAYS)
def test_payloads_of_any_size_arrive_unchanged_one_after_another(way):
    with WAYS[way](LARGEST) as exchange:
        for size in (1, 4096, 300_001, LARGEST, 1):
            payload = os.urandom(size)
            assert exchange(payload) == 0
            assert exchange(b"") == zlib.crc32(payload)


@pytest.mark.parametrize("way", WAYS)
def test_the_consumer_is_a_process_of_its_own_and_ends_with_the_measurement(way):
    before = set(psutil.Process().children())
    with WAYS[way](4096) as exchange:
        exchange(b"x")
        consumers = [child for child in set(psutil.Process().children()) - before if is_consumer(child)]
        assert len(consumers) == 1
    assert not consumers[0].is_running()


@pytest.mark.parametrize("way", WAYS)
def test_a_consumer_that_dies_is_an_error_and_not_a_figure(way):
    before = set(psutil.Process().children())
    with WAYS[way](LARGEST) as exchange:
        exchange(b"x")
        for child in set(psutil.Process().children()) - before:
            if is_consumer(child):
                child.kill()
        with pytest.raises(RunFailed, match="process ended"):
            exchange(bytes(LARGEST))


def is_consumer(child: psutil.Process) -> bool:
    """Not the resource tracker that multiprocessing keeps."""
    command = " ".join(child.cmdline())
    return "bench.ipc_child" in command or "spawn_main" in command


def test_no_consumer_outlives_a_producer_that_was_killed():
    code = """
import contextlib, os, sys
import psutil
from bench.ipc import WAYS
if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        for way in WAYS.values():
            stack.enter_context(way(4096))(b"x")
        print(*[child.pid for child in psutil.Process().children()], flush=True)
        os.kill(os.getpid(), 9)
"""
    child = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120)
    pids = [int(word) for word in child.stdout.split()]
    assert len(pids) >= len(WAYS), child.stderr
    deadline = time.monotonic() + GONE_SECONDS
    while alive := [pid for pid in pids if psutil.pid_exists(pid)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.05)


def test_bytes_that_arrive_changed_are_an_error():
    def lying(payload: bytes) -> int:
        return 0

    with pytest.raises(RunFailed, match="way: 1024 bytes arrived changed"):
        _measure_size({"way": lying}, 1024, 1)


def test_every_way_takes_its_turn_in_every_round_and_not_always_in_the_same_order():
    turns: list[str] = []
    last: dict[str, bytes] = {}

    def exchange(name: str, payload: bytes) -> int:
        if not payload:
            return zlib.crc32(last[name])
        last[name] = payload
        if not turns or turns[-1] != name:
            turns.append(name)
        return 0

    ways: dict[str, Exchange] = {name: partial(exchange, name) for name in ("a", "b", "c")}
    result = _measure_size(ways, 2**24, 3)
    assert turns == ["a", "b", "c", "a", "b", "c", "b", "c", "a", "c", "a", "b"]  # the first three warm up
    assert [len(timing.seconds) for timing in result.timings] == [3, 3, 3]


def test_ratios_are_those_of_the_same_round():
    result = SizeResult(2**20, 4, [Timing("arena", [1.0, 8.0]), Timing("pipe", [2.0, 4.0])])
    assert [pair.ratio for pair in result.pairs(result.timings[1])] == [0.5, 2.0]
    console = Console(file=io.StringIO(), width=100)
    console.print(table([result]))
    assert isinstance(console.file, io.StringIO)
    [line] = [line for line in console.file.getvalue().splitlines() if "pipe" in line]
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        "",
        "pipe",
        "3000.00 ms",
        "0.00",
        "1.25",
        "0.50 – 2.00",
    ]


def test_the_command_measures_prints_and_writes_every_size(tmp_path: Path):
    path = tmp_path / "ipc.json"
    run = CliRunner().invoke(bench, ["ipc", "--sizes", "4,2048", "--rounds", "2", "--json", str(path)])
    assert run.exit_code == 0, run.output
    for shown in ("4 KiB", "2 MiB", *WAYS):
        assert shown in run.output
    report = msgspec.json.decode(path.read_bytes(), type=Report[IpcResults])
    assert [result.payload_bytes for result in report.results.sizes] == [4096, 2 * 2**20]
    for result in report.results.sizes:
        assert [timing.way for timing in result.timings] == list(WAYS)
        assert all(len(timing.seconds) == 2 and min(timing.seconds) > 0 for timing in result.timings)


@pytest.mark.parametrize("sizes", ["", "0", "4,x", "-1"])
def test_sizes_are_a_list_of_numbers_from_one(sizes):
    run = CliRunner().invoke(bench, ["ipc", "--sizes", sizes])
    assert run.exit_code == 2
    assert "from 1" in run.output
