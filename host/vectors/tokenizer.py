"""Texts → token ids with OpenVINO GenAI's tokenizer."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from host.vectors.framing import PROBES, Framing, find_framing
from host.vectors.request import IntArray


class Tokenizer(Protocol):
    """A model's tokenizer. It holds the GIL for about a second per million characters."""

    framing: Framing

    def encode(self, texts: Sequence[str]) -> list[IntArray]:
        """The token ids of each text, whole and without special tokens."""


class GenAiTokenizer:
    """Over an openvino_genai.Tokenizer."""

    def __init__(self, path: Path, doubled: bool) -> None:
        """`doubled` as `find_framing` has it. Raises RuntimeError if the folder has no tokenizer IR."""
        import openvino_genai as genai

        self._native: Any = genai.Tokenizer(path)
        pair = None
        if self._native.supports_paired_input():
            (pair,) = _rows(self._native.encode([list(PROBES)]))
        self.framing = find_framing(self._encode_framed(PROBES), pair, doubled)

    def encode(self, texts: Sequence[str]) -> list[IntArray]:
        ids: list[IntArray] = [np.empty(0, np.int64)] * len(texts)
        for group in _by_length(texts):
            for index, framed in zip(
                group, self._encode_framed([texts[index] for index in group]), strict=True
            ):
                ids[index] = self.framing.strip(framed)
        return ids

    def _encode_framed(self, texts: Iterable[str]) -> list[IntArray]:
        return _rows(self._native.encode(list(texts)))


def _rows(encoded: Any) -> list[IntArray]:
    """The rows without their padding, on whichever side it is."""
    real = encoded.attention_mask.data.astype(bool)
    ids: IntArray = encoded.input_ids.data[real]  # a copy: all rows, one after the other
    return np.split(ids, np.cumsum(real.sum(axis=1))[:-1])


def _by_length(texts: Sequence[str]) -> Iterable[list[int]]:
    """Indices of texts to encode in one call, which pads all of them to the longest."""
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for index, text in enumerate(texts):
        groups[len(text).bit_length()].append(index)
    return groups.values()
