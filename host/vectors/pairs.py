"""How a query and a document become one input of a reranker."""

from typing import Protocol

import numpy as np

from host.vectors.framing import Framing
from host.vectors.request import IntArray, TokenRow
from host.vectors.tokenizer import Tokenizer

_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


class PairFormat(Protocol):
    """Which texts to tokenize, and how their token ids form an input."""

    extra_tokens: int  # of an input, beside those of the two texts

    def query_text(self, query: str, instruction: str) -> str: ...

    def document_text(self, document: str) -> str: ...

    def pair(self, query: IntArray, document: IntArray) -> TokenRow: ...


class CrossEncoderPairs:
    """Query and document as a pair of segments, as the model's tokenizer frames pairs."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self.extra_tokens = framing.pair_tokens

    def query_text(self, query: str, _instruction: str) -> str:
        return query

    def document_text(self, document: str) -> str:
        return document

    def pair(self, query: IntArray, document: IntArray) -> TokenRow:
        return self._framing.pair(query, document)


class Qwen3Pairs:
    """The conversation that Qwen3's rerankers are trained on. The document is the last part that differs."""

    _BEFORE = (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the "
        'Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    )
    _AFTER = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._before, self._after = tokenizer.encode([self._BEFORE, self._AFTER])
        self.extra_tokens = len(self._before) + len(self._after)

    def query_text(self, query: str, instruction: str) -> str:
        return f"<Instruct>: {instruction or _INSTRUCTION}\n<Query>: {query}\n<Document>:"

    def document_text(self, document: str) -> str:
        return f" {document}"  # no token reaches across the blank, so the two can be tokenized apart

    def pair(self, query: IntArray, document: IntArray) -> TokenRow:
        ids = np.concatenate((self._before, query, document, self._after))
        return TokenRow(ids, len(ids))
