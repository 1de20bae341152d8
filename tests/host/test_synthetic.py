"""What the engine without a model refuses."""

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from host.engines.base import RequestRefused
from host.engines.synthetic import SyntheticEngine
from ipc.messages import Accepted, Generate, Sampling, TextInput, TextPrompt
from tests.host.harness import launch_of


def test_log_probabilities_of_a_prompt_are_refused(tmp_path: Path) -> None:
    engine = SyntheticEngine(launch_of(tmp_path, engine="synthetic"), cast(Any, None))
    body = msgspec.msgpack.encode(TextInput(TextPrompt("some words")))
    assert isinstance(engine.submit(Generate(1, b"", sampling=Sampling()), body)[0], Accepted)
    with pytest.raises(
        RequestRefused, match="echo: log probabilities of the prompt are not available"
    ) as caught:
        engine.submit(Generate(2, b"", sampling=Sampling(), score_prompt=True), body)
    assert caught.value.error.param == "echo"
