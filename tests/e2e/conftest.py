"""Real servers with a real model, started as a user starts them."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import anthropic
import openai
import pytest

from tests.e2e.serving import EXACT, Serving

Start = Callable[..., Serving]


@pytest.fixture
def start(qwen3_ir: Path) -> Iterator[Start]:
    """Starts servers of a model of random weights, which loads fast and is named "smollm2" all the same.

    They end with the test: `start(*arguments, **environment)`.
    """
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, port=None, **environment: stack.enter_context(
            Serving([str(qwen3_ir), "--name", "smollm2"], arguments, environment, port)
        ).wait_until_ready()


@pytest.fixture(scope="module")
def server(smollm2_ir: Path) -> Iterator[Serving]:
    """One server for all tests of a module that leave it as they found it. Its texts can be compared."""
    with Serving([str(smollm2_ir), "--name", "smollm2"], EXACT, {}) as serving:
        yield serving.wait_until_ready()


@pytest.fixture
def client(server: Serving) -> Iterator[openai.OpenAI]:
    with server.client() as client:
        yield client


@pytest.fixture(scope="module")
def tool_server(plain_ir: Path, qwen3_ir: Path, qwen35_ir: Path) -> Iterator[Serving]:
    """One server of three models of random weights: "plain", whose chat template knows no tools, and "qwen3"
    and "qwen3.5", with the templates of two that do."""
    models = [str(plain_ir), str(qwen3_ir), str(qwen35_ir)]
    with Serving(models, ["--kv-cache-gib", "0.25", *EXACT], {}) as serving:
        for name in ("plain", "qwen3", "qwen3.5"):
            serving.wait_until_ready(name)
        yield serving


@pytest.fixture
def anthropic_client(tool_server: Serving) -> Iterator[anthropic.Anthropic]:
    """Does not retry, so that every failure is seen."""
    with anthropic.Anthropic(
        base_url=tool_server.base_url, api_key="unused", max_retries=0, timeout=60.0
    ) as client:
        yield client


@pytest.fixture
def tool_client(tool_server: Serving) -> Iterator[openai.OpenAI]:
    with tool_server.client() as client:
        yield client
