"""A real server for the load generator: the bare Falcon loop in a process of its own."""

import sys
from collections.abc import Iterator

import pytest

from bench.server import Server, free_port

START_SECONDS = 30.0


@pytest.fixture(scope="session")
def bare() -> Iterator[Server]:
    port = free_port()
    with Server([sys.executable, "-P", "-m", "bench.bare_sse", "--port", str(port)], port) as server:
        server.wait_for("/health", START_SECONDS)
        yield server
