"""Choices made while a model is loaded."""

from pathlib import Path
from typing import Any

import pytest

from host.engines.embeddings import choose_output
from host.model_folder import ModelFolderError
from host.vectors.loading import batch_tokens, costs_of
from host.vectors.native import choose_properties, compile_properties
from tests.host.vectors.asking import vector_launch

HIDDEN = {"last_hidden_state": 3}
BOTH = {"token_embeddings": 3, "sentence_embedding": 2}


@pytest.mark.parametrize(
    ("ranks", "complete", "pools", "output"),
    [
        (HIDDEN, True, False, "last_hidden_state"),
        (HIDDEN, True, True, "last_hidden_state"),
        ({"pooler_output": 2} | HIDDEN, True, False, "last_hidden_state"),
        (BOTH, True, False, "sentence_embedding"),
        (BOTH, False, False, "sentence_embedding"),
        (BOTH, True, True, "token_embeddings"),
        ({"embedding": 2}, True, False, "embedding"),
    ],
)
def test_the_graphs_own_embedding_is_taken_unless_a_pooling_is_asked_for(
    ranks: dict[str, int], complete: bool, pools: bool, output: str
) -> None:
    assert choose_output(ranks, complete, pools) == output


@pytest.mark.parametrize(
    ("ranks", "complete", "pools", "error"),
    [
        (HIDDEN, False, False, "modules.json lists modules besides"),
        (BOTH, False, True, "modules.json lists modules besides"),
        ({"logits": 1}, True, False, "no output of hidden states, only logits"),
        ({"embedding": 2}, True, True, "no output of hidden states, only embedding"),
    ],
)
def test_a_graph_that_cannot_give_what_is_asked_for_is_an_error(
    ranks: dict[str, int], complete: bool, pools: bool, error: str
) -> None:
    with pytest.raises(ModelFolderError, match=error):
        choose_output(ranks, complete, pools)


@pytest.mark.parametrize(
    ("short", "long", "tokens"),
    [
        (0.010, 0.059, 16),  # 8 and 128 tokens, seconds as measured on a slow CPU
        (0.0034, 0.0514, 8),  # no overhead
        (0.0015, 0.0020, 256),  # nearly nothing else
        (0.0020, 0.0015, 256),  # noise
    ],
)
def test_what_a_pass_costs_beside_its_tokens_follows_from_two_passes(
    short: float, long: float, tokens: int
) -> None:
    assert costs_of(8, short, 128, long).overhead == tokens


@pytest.mark.parametrize(
    ("launch", "chosen", "compiled"),
    [
        ({}, {"NUM_STREAMS": "2"}, {"NUM_STREAMS": "2"}),
        ({"threads": 1}, {"NUM_STREAMS": "1"}, {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": "1"}),
        ({"threads": 8}, {"NUM_STREAMS": "2"}, {"NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": "8"}),
        ({"properties": {"NUM_STREAMS": "4"}}, {}, {"NUM_STREAMS": "4"}),
        ({"properties": {"PERFORMANCE_HINT": "LATENCY"}}, {}, {"PERFORMANCE_HINT": "LATENCY"}),
        ({"device": "GPU", "threads": 8}, {}, {}),
    ],
)
def test_a_cpu_computes_in_two_streams_unless_the_launch_says_otherwise(
    tmp_path: Path, launch: dict[str, Any], chosen: dict[str, str], compiled: dict[str, str]
) -> None:
    asked = vector_launch(tmp_path, **{"properties": {}, **launch})
    assert choose_properties(asked) == chosen
    assert compile_properties(asked, chosen) == compiled


@pytest.mark.parametrize(
    ("seconds_per_token", "tokens"), [(0.0001, 1024), (0.0009, 1024), (0.002, 500), (0.05, 128)]
)
def test_a_slow_model_has_smaller_batches_so_that_a_pass_takes_a_second(
    seconds_per_token: float, tokens: int
) -> None:
    assert batch_tokens(1024, seconds_per_token) == tokens
    assert batch_tokens(64, seconds_per_token) == 64
