"""Starting, watching and stopping the servers that are measured, on real processes."""

import os
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from bench.errors import RunFailed
from bench.server import Server, free_port, nacelle_server, pinned, started_at
from tests.bench.conftest import START_SECONDS

_READY = "/ready/synthetic"


@pytest.fixture(scope="module")
def synthetic() -> Iterator[Server]:
    """Nacelle with its engine that needs no model."""
    with nacelle_server("synthetic:0") as server:
        server.wait_for(_READY, START_SECONDS)
        yield server


def test_a_server_that_exits_is_reported_with_its_last_words() -> None:
    with (
        pytest.raises(RunFailed, match="status 3") as caught,
        Server([sys.executable, "-c", "print('out of luck'); raise SystemExit(3)"], free_port()) as server,
    ):
        server.wait_for("/health", START_SECONDS)
    assert "out of luck" in "\n".join(caught.value.__notes__)


def test_a_server_that_never_answers_is_given_up() -> None:
    with (
        pytest.raises(RunFailed, match="no 200"),
        Server([sys.executable, "-c", "import signal; signal.pause()"], free_port()) as server,
    ):
        server.wait_for("/health", 0.1)


def test_the_hosts_of_a_server_are_its_children_and_are_younger_than_it(synthetic: Server) -> None:
    [host] = synthetic.hosts()
    assert host.ppid() == synthetic.pid
    assert started_at(synthetic.pid) <= started_at(host.pid) <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_killed_host_is_replaced_and_the_time_is_taken(synthetic: Server) -> None:
    [before] = synthetic.hosts()
    assert 0 < synthetic.recovery_seconds(_READY, START_SECONDS) < START_SECONDS
    [after] = synthetic.hosts()
    assert after.pid != before.pid


def test_the_memory_of_a_server_is_that_of_its_own_process(synthetic: Server) -> None:
    assert 10 < synthetic.resident_mib() < 200


def test_what_starts_while_pinned_runs_on_those_cores_and_this_process_gets_its_own_back() -> None:
    before = os.sched_getaffinity(0)
    core = min(before)
    with pinned([core]):
        server = Server([sys.executable, "-c", "import signal; signal.pause()"], free_port())
    with server:
        assert psutil.Process(server.pid).cpu_affinity() == [core]
    assert os.sched_getaffinity(0) == before
