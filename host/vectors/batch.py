"""The arrays of one forward pass."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from host.vectors.request import IntArray, TokenRow


class Batch(NamedTuple):
    """Token rows of shape [rows, length], padded on the right. The rows after the inputs are all padding."""

    ids: IntArray
    mask: (
        IntArray  # 1 for real tokens, and for the first one of a padding row: attention to none is undefined
    )
    types: IntArray  # 1 in the second segment of a pair
    lengths: IntArray  # of shape [inputs]: real tokens of each

    @property
    def inputs(self) -> int:
        return len(self.lengths)


def make_batch(token_rows: Sequence[TokenRow], rows: int, length: int, pad_token_id: int) -> Batch:
    """At most `rows` inputs of at most `length` tokens."""
    positions = np.arange(length)
    lengths = np.ones(rows, np.int64)
    lengths[: len(token_rows)] = [len(row.ids) for row in token_rows]
    seconds = np.full(rows, length, np.int64)
    seconds[: len(token_rows)] = [row.second for row in token_rows]
    real = positions < lengths[:, None]
    ids = np.full((rows, length), pad_token_id, np.int64)
    ids[: len(token_rows)][real[: len(token_rows)]] = np.concatenate([row.ids for row in token_rows])
    types = real & (positions >= seconds[:, None])
    return Batch(ids, real.astype(np.int64), types.astype(np.int64), lengths[: len(token_rows)])
