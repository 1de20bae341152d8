"""Requests and rows without a model, for tests of what happens around one."""

import numpy as np

from host.vectors.request import FloatArray, TokenRow, VectorRequest
from ipc.messages import Embedded, Payload


def row(length: int) -> TokenRow:
    return TokenRow(np.arange(length), length)


class LengthsRequest(VectorRequest):
    """Asks for nothing but rows of these lengths."""

    def __init__(self, request_id: int, lengths: list[int], texts: list[str] | None = None) -> None:
        super().__init__(request_id, texts or [])
        self.lengths = lengths

    def token_rows(self) -> list[TokenRow]:
        return [row(length) for length in self.lengths]

    def result(self, rows: FloatArray) -> FloatArray:
        return rows

    def reply(self, payload: Payload, shape: tuple[int, ...]) -> Embedded:
        return Embedded(self.request_id, payload, shape, self.prompt_tokens)
