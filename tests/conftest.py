"""Fixtures for all tests: a clean environment, and the real model that many of them serve."""

import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from frontend.cli.terminal import TerminalReporter
from frontend.models.resolve import preparer_for
from tests.models.cross_encoder import cross_encoder
from tests.models.qwen3 import tiny_qwen3, tiny_qwen3_reranker
from tests.models.vision import colour_vlm

# A busy machine must not fail a property; what takes too long meets pytest's limit.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected lives as long as the process: the garbage collector passes over it from now on."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules that take long first, so that at the end no worker waits for the last of them."""
    long = ("tests/e2e/", "tests/host/", "tests/bench/", "tests/models/", "tests/test_quiet.py")
    items.sort(key=lambda item: not item.nodeid.startswith(long))


@pytest.fixture(scope="session", autouse=True)
def settings_of_the_developer_stay_out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No NACELLE_ variable of the shell reaches a test, but the store's, which tests share with the user."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("NACELLE_") and name != "NACELLE_STORE"]:
            patch.delenv(name)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))  # its keys, too
        yield


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's, wherever the tests' own folders are."""
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def smollm2_ir() -> Path:
    """The IR folder of SmolLM2-135M-Instruct, a real model. A machine without it fetches it once."""
    with TerminalReporter() as reporter:
        return preparer_for(os.environ.get("NACELLE_STORE"), reporter).pull("smollm2")


@pytest.fixture(scope="session")
def minilm_ir() -> Path:
    """The IR folder of all-MiniLM-L6-v2, a real sentence encoder. A machine without it fetches it once."""
    with TerminalReporter() as reporter:
        return preparer_for(os.environ.get("NACELLE_STORE"), reporter).pull("minilm")


@pytest.fixture(scope="session")
def e5_ir() -> Path:
    """The IR folder of multilingual-e5-small, another real one. A machine without it fetches it once."""
    with TerminalReporter() as reporter:
        return preparer_for(os.environ.get("NACELLE_STORE"), reporter).pull("e5")


@pytest.fixture(scope="session")
def kokoro_ir() -> Path:
    """The IR folder of Kokoro-82M, a real model that speaks. A machine without it fetches it once."""
    with TerminalReporter() as reporter:
        return preparer_for(os.environ.get("NACELLE_STORE"), reporter).pull("kokoro")


@pytest.fixture(scope="session")
def whisper_ir() -> Path:
    """The IR folder of Whisper tiny for English, a real model, with Silero VAD. A machine without it fetches
    it once."""
    with TerminalReporter() as reporter:
        return preparer_for(os.environ.get("NACELLE_STORE"), reporter).pull("whisper-tiny-en")


@pytest.fixture(scope="session")
def cross_encoder_ir(minilm_ir: Path) -> Path:
    """A stand-in for a cross-encoder, made from MiniLM."""
    return cross_encoder(minilm_ir)


@pytest.fixture(scope="session")
def vision_ir(smollm2_ir: Path) -> Path:
    """A stand-in for a vision model: SmolLM2 that is told the colours of a picture's halves."""
    return colour_vlm(smollm2_ir)


@pytest.fixture(scope="session")
def causal_reranker_ir() -> Path:
    """A stand-in for a causal reranker: a random tiny Qwen3, whose scores mean nothing."""
    return tiny_qwen3_reranker()


@pytest.fixture(scope="session")
def qwen3_ir() -> Path:
    """A random tiny Qwen3 whose chat template knows tools and reasoning."""
    return tiny_qwen3("qwen3")


@pytest.fixture(scope="session")
def plain_ir() -> Path:
    """The same model with a chat template that knows neither tools nor reasoning."""
    return tiny_qwen3("plain")


@pytest.fixture(scope="session")
def qwen35_ir() -> Path:
    """The same model with the chat template of Qwen3.5, where every answer begins with reasoning."""
    return tiny_qwen3("qwen3.5")
