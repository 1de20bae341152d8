"""Real servers with a real model, started as a user starts them."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pytest

from tests.e2e.serving import Serving

Start = Callable[..., Serving]


@pytest.fixture
def start(smollm2_ir: Path) -> Iterator[Start]:
    """Starts servers of SmolLM2 that end with the test: `start(*arguments, **environment)`."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, port=None, **environment: stack.enter_context(
            Serving([str(smollm2_ir), "--name", "smollm2"], arguments, environment, port)
        ).wait_until_ready()


@pytest.fixture(scope="module")
def server(smollm2_ir: Path) -> Iterator[Serving]:
    """One server for all tests of a module that leave it as they found it."""
    with Serving([str(smollm2_ir), "--name", "smollm2"], (), {}) as serving:
        yield serving.wait_until_ready()


@pytest.fixture
def client(server: Serving) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client
