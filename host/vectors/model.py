"""What computes batches, whichever library it is of."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from host.vectors.batch import Batch
from host.vectors.request import FloatArray
from host.vectors.tokenizer import Tokenizer

Output = npt.NDArray[np.floating[Any]]
Head = Callable[[Output, Batch], FloatArray]  # a model's output for a batch → values of shape [inputs, width]


class RawModel(Protocol):
    """A loaded model."""

    chosen: dict[str, str]  # OpenVINO properties that the launch left to us

    @property
    def lanes(self) -> int:
        """Threads that may call `run` at once."""

    def run(self, batch: Batch) -> Output:
        """The model's output for a batch, valid until the same thread calls again.

        Takes long, and releases the GIL. Raises whatever the library raises.
        """

    def reset(self) -> None:
        """Make the model usable again after a run that failed, with no other running."""


class Library(NamedTuple):
    """A model and its tokenizer, as one library loads them."""

    tokenizer: Tokenizer
    model: RawModel


class Model:
    """A loaded model and what is made of its output."""

    def __init__(self, raw: RawModel, head: Head) -> None:
        self._raw = raw
        self._head = head
        self.lanes = raw.lanes
        self.reset = raw.reset

    def run(self, batch: Batch) -> FloatArray:
        """Values of shape [inputs, width]. Raises what the model raises."""
        return self._head(self._raw.run(batch), batch)
