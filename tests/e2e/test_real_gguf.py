"""A real GGUF file, served as README says. Opt-in: `pytest -m real_gguf` fetches 478 MB and takes minutes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.serving import Serving
from tests.models.qwen_coder import qwen_coder_gguf

pytestmark = [pytest.mark.real_gguf, pytest.mark.timeout(3600)]

_NAME = "qwen2.5-coder-0.5b-instruct-q4_k_m"
_FIRST_LINE = "The name of the ship's cat is Marmalade.\n"
_LINE = "Entry {}: the wind came from the west, and the sea was calm all day.\n"
_LINES = 1000  # of 20 to 22 tokens
_QUESTION = "What is the name of the ship's cat? Answer with the name only."


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """With a store of its own, so that the file is converted here, and time for the long prompt."""
    options = ["--store", str(tmp_path_factory.mktemp("store")), "--request-timeout-seconds", "3000"]
    with Serving([str(qwen_coder_gguf())], options, {}) as server:
        server.wait_for(f"/ready/{_NAME}", 600.0)
        yield server


def test_the_user_is_told_of_the_types_that_changed(serving: Serving) -> None:
    assert "Converted 133 Q5_0 tensors to Q8_0, because the engine does not read them." in serving.log_tail()


def test_it_answers(serving: Serving) -> None:
    answer = serving.chat("What is the capital of France?", model=_NAME, max_tokens=16).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]


def test_it_writes_code(serving: Serving) -> None:
    answer = serving.chat("Write a Python function that adds two numbers.", model=_NAME, max_tokens=64).json()
    assert "def " in answer["choices"][0]["message"]["content"]


def test_a_prompt_of_20000_tokens_is_read_from_its_first_line(serving: Serving) -> None:
    prompt = _FIRST_LINE + "".join(map(_LINE.format, range(_LINES))) + _QUESTION
    serving.http.timeout = 3000.0
    answer = serving.chat(prompt, model=_NAME, max_tokens=12).json()
    assert answer["usage"]["prompt_tokens"] >= 20_000
    assert "Marmalade" in answer["choices"][0]["message"]["content"]


def test_the_users_file_and_its_folder_stay_as_they_are(serving: Serving) -> None:
    file: Path = qwen_coder_gguf()
    assert [path.name for path in file.parent.iterdir()] == [file.name]
