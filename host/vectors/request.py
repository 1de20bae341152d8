"""A request for vectors or scores: from texts to rows of token ids, and from rows of numbers to a reply."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipc.messages import Payload, Reply

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]


class TokenRow(NamedTuple):
    """One input as the model sees it, special tokens included."""

    ids: IntArray  # of shape [tokens]
    second: int  # where the second segment of a pair begins; the number of tokens if there is none


class VectorRequest(ABC):
    """What the batching needs to know of a request of any kind."""

    def __init__(self, request_id: int, texts: list[str]) -> None:
        self.request_id = request_id
        self.texts = texts  # to tokenize
        self.pieces: list[IntArray] = []  # token ids of the first texts, without special tokens
        self.prompt_tokens = 0
        self.poisoned = False
        self._rows: FloatArray | None = None
        self._missing = 0  # rows

    @property
    def tokenized(self) -> bool:
        return len(self.pieces) == len(self.texts)

    @property
    def complete(self) -> bool:
        return self._rows is not None and not self._missing

    @abstractmethod
    def token_rows(self) -> list[TokenRow]:
        """The inputs, once all texts are tokenized; at least one. Raises RequestRefused."""

    @abstractmethod
    def result(self, rows: FloatArray) -> FloatArray:
        """The tensor to reply with, of rows of shape [inputs, width] in the order of `token_rows`."""

    @abstractmethod
    def reply(self, payload: Payload, shape: tuple[int, ...]) -> Reply:
        """The message that carries the result."""

    def expect(self, rows: list[TokenRow]) -> None:
        """Note what is going to be computed."""
        self.prompt_tokens = sum(len(row.ids) for row in rows)
        self._missing = len(rows)

    def store(self, indices: list[int], values: FloatArray) -> None:
        """Take in the rows computed for the inputs at `indices`."""
        if self._rows is None:
            self._rows = np.empty((self._missing, values.shape[1]), np.float32)
        self._rows[indices] = values
        self._missing -= len(indices)

    def tensor(self) -> FloatArray:
        """The result of a complete request, contiguous."""
        assert self._rows is not None, "only of complete requests"
        return np.ascontiguousarray(self.result(self._rows), np.float32)
