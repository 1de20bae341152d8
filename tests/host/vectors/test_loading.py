"""Choices made while a model is loaded."""

import pytest

from host.engines.embeddings import choose_output
from host.model_folder import ModelFolderError
from host.vectors.loading import overhead_tokens

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
    assert overhead_tokens(8, short, 128, long) == tokens
