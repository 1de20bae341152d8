"""Which prompts are good for comparing texts token for token."""

import math

import msgspec
import pytest

from bench.certain import is_certain
from bench.client import Response


@pytest.mark.parametrize(
    ("probabilities", "certain"), [([0.99, 0.56], True), ([0.99, 0.54, 0.99], False), ([0.3], False)]
)
def test_a_text_is_certain_if_each_token_had_more_than_half_of_the_probability(probabilities, certain):
    logprobs = {"token_logprobs": [math.log(p) for p in probabilities]}
    body = msgspec.json.encode({"choices": [{"text": "x", "logprobs": logprobs}]})
    assert is_certain(Response(200, 0.0, 1.0, body, [])) is certain
