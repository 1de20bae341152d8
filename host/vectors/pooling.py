"""From a model's outputs to embeddings and scores, in numpy without a loop over values."""

import numpy as np
import numpy.typing as npt

from host.vectors.batch import Batch
from host.vectors.request import FloatArray
from ipc.messages.vectors import Pooling

_LARGEST_EXPONENT = 700.0  # of a float64
_TINY = np.float32(1e-12)  # the norm that a vector of zeros is divided by


def pool(hidden: npt.NDArray[np.floating], batch: Batch, pooling: Pooling) -> FloatArray:
    """Hidden states of shape [rows, length, dimensions] → [inputs, dimensions]."""
    states = hidden[: batch.inputs].astype(np.float32, copy=False)
    pooled: FloatArray
    match pooling:
        case "mean":
            mask = batch.mask[: batch.inputs]
            weights = (mask / batch.lengths[:, None]).astype(np.float32)
            pooled = (weights[:, None, :] @ states)[:, 0]
        case "cls":
            pooled = states[:, 0].copy()
        case "last_token":
            pooled = states[np.arange(batch.inputs), batch.lengths - 1]
    return pooled


def normalized(vectors: FloatArray) -> FloatArray:
    """Each row divided by its length."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: FloatArray = vectors / np.maximum(norms, _TINY)
    return unit


def scores(logits: npt.NDArray[np.floating]) -> FloatArray:
    """Logits of shape [inputs, 1] or [inputs, 2] → scores from 0 to 1, of shape [inputs, 1].

    One logit goes through the logistic function; of two, the score is the second one's share of the softmax.
    Raises ValueError for any other number.
    """
    values = logits.astype(np.float64)
    if values.shape[1] == 2:
        values = values[:, 1:] - values[:, :1]
    elif values.shape[1] != 1:
        raise ValueError(f"a reranker has one or two logits, not {values.shape[1]}")
    odds = np.exp(np.minimum(-values, _LARGEST_EXPONENT))
    return (1 / (1 + odds)).astype(np.float32)
