"""Fixtures for all tests: a clean environment, and the real model that many of them serve."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from frontend.cli.terminal import TerminalReporter
from frontend.models.resolve import preparer_for
from tests.models.qwen3 import tiny_qwen3

# A busy machine must not fail a property; what takes too long meets pytest's limit.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def settings_of_the_developer_stay_out() -> Iterator[None]:
    """No NACELLE_ variable of the shell reaches a test, but the store's, which tests share with the user."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("NACELLE_") and name != "NACELLE_STORE"]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def smollm2_ir() -> Path:
    """The IR folder of SmolLM2-135M-Instruct, a real model. A machine without it fetches it once."""
    with TerminalReporter() as reporter:
        return preparer_for(os.environ.get("NACELLE_STORE"), reporter).pull("smollm2")


@pytest.fixture(scope="session")
def qwen3_ir() -> Path:
    """A random tiny Qwen3 whose chat template knows tools and reasoning."""
    return tiny_qwen3("qwen3")


@pytest.fixture(scope="session")
def qwen35_ir() -> Path:
    """The same model with the chat template of Qwen3.5, where every answer begins with reasoning."""
    return tiny_qwen3("qwen3.5")
