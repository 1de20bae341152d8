"""From rows of hidden states to vectors, and from logits to scores."""

import math

import numpy as np
import pytest

from host.vectors.batch import Batch, make_batch
from host.vectors.pooling import normalized, pool, scores
from host.vectors.request import FloatArray, TokenRow
from ipc.messages.vectors import Pooling

PAD = 9


def batch() -> Batch:
    """Two inputs of 3 and 1 tokens in a shape for more."""
    first = TokenRow(np.array([1, 2, 3]), 2)
    return make_batch([first, TokenRow(np.array([4]), 1)], rows=4, length=4, pad_token_id=PAD)


def hidden() -> FloatArray:
    """[rows, length, 2]: padding holds what must not be seen."""
    states = np.full((4, 4, 2), np.nan, np.float32)
    states[0, :3] = [[1, 2], [3, 4], [8, 0]]
    states[1, :1] = [[5, 6]]
    return states


def test_rows_are_padded_on_the_right_and_with_rows() -> None:
    made = batch()
    assert made.ids.tolist() == [[1, 2, 3, PAD], [4, PAD, PAD, PAD], [PAD] * 4, [PAD] * 4]
    assert made.mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert made.types.tolist() == [[0, 0, 1, 0], [0] * 4, [0] * 4, [0] * 4]
    assert (made.lengths.tolist(), made.inputs) == ([3, 1], 2)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [("mean", [[4, 2], [5, 6]]), ("cls", [[1, 2], [5, 6]]), ("last_token", [[8, 0], [5, 6]])],
)
def test_only_real_tokens_are_pooled(pooling: Pooling, expected: list[list[float]]) -> None:
    states = np.nan_to_num(hidden(), nan=1e6)
    assert np.abs(pool(states, batch(), pooling) - expected).max() < 1e-5


def test_half_precision_is_pooled_in_single() -> None:
    states = np.full((4, 4, 2), 40_000, np.float16)  # the sum of two exceeds what 16 bits hold
    pooled = pool(states, batch(), "mean")
    assert pooled.dtype == np.float32
    assert np.isfinite(pooled).all()


def test_normalized_vectors_have_length_one_and_zeros_stay_zeros() -> None:
    vectors = normalized(np.array([[3, 4], [0, 0]], np.float32))
    assert np.abs(vectors - [[0.6, 0.8], [0, 0]]).max() < 1e-6


def test_one_logit_goes_through_the_logistic_function() -> None:
    found = scores(np.array([[0], [2], [-1000], [1000]], np.float32))
    assert found.shape == (4, 1)
    assert np.abs(found[:, 0] - [0.5, 1 / (1 + math.exp(-2)), 0, 1]).max() < 1e-7


def test_of_two_logits_the_second_ones_share_counts() -> None:
    found = scores(np.array([[1, 1], [0, 2], [-500, 500]], np.float32))
    assert np.abs(found[:, 0] - [0.5, 1 / (1 + math.exp(-2)), 1]).max() < 1e-7


def test_small_scores_keep_their_order() -> None:
    found = scores(np.array([[-20], [-21], [-22]], np.float32))[:, 0]
    assert found[0] > found[1] > found[2] > 0


def test_more_logits_are_no_rerankers() -> None:
    with pytest.raises(ValueError, match="one or two logits, not 3"):
        scores(np.zeros((1, 3), np.float32))
