"""Encodes a table of character replacements in the format that SentencePiece's normalizer reads.

The format is the size of a trie, the trie, and the replacements, each ended by a zero byte. The trie is a
double array (as in darts-clone). A node's child for byte b is at `index ^ offset ^ b`. The child for byte 0
is a leaf, whose value is the offset of the replacement.
"""

import struct
from collections.abc import Mapping

_LEAF = 1 << 31
_HAS_LEAF = 1 << 8
_OFFSET_SHIFT = 10
_BLOCK = 256  # SentencePiece accepts whole kilobytes only
_UNUSED = _LEAF  # equals no byte

_Trie = dict[int, "_Trie"]  # byte → subtree


def encode_charsmap(replacements: Mapping[str, str]) -> bytes:
    """The table that replaces each key by its value. It must not be empty, and keys contain no NUL."""
    texts = bytearray()
    starts: dict[str, int] = {}
    root: _Trie = {}
    leaves: dict[int, int] = {}  # id() of a trie's node → where the replacement of its key begins
    for key, text in replacements.items():
        if text not in starts:
            starts[text] = len(texts)
            texts += text.encode() + b"\0"
        node = root
        for byte in key.encode():
            node = node.setdefault(byte, {})
        leaves[id(node)] = starts[text]
    units = _DoubleArray(root, leaves).units
    trie = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(trie)) + trie + bytes(texts)


class _DoubleArray:
    """Places each node's children, first fit."""

    def __init__(self, root: _Trie, leaves: dict[int, int]) -> None:
        self.units = [_UNUSED] * _BLOCK
        self._taken = bytearray(_BLOCK)
        self._taken[0] = 1
        self._first_free = 1
        self.units[0] = 0
        # Nodes must not share a base, or each would seem to have the other's children. With base 0, the root
        # would be its own child for byte 0.
        self._bases = {0}
        pending = [(root, 0)]
        while pending:
            node, index = pending.pop()
            labels = sorted(node)
            if id(node) in leaves:
                labels.insert(0, 0)
            base = self._place(labels)
            self.units[index] |= (index ^ base) << _OFFSET_SHIFT
            for label in labels:
                if label == 0:
                    self.units[index] |= _HAS_LEAF
                    self.units[base] = _LEAF | leaves[id(node)]
                else:
                    self.units[base ^ label] = label
                    pending.append((node[label], base ^ label))

    def _place(self, labels: list[int]) -> int:
        """Take a free place for each label. Returns the base that they are relative to."""
        candidate = self._first_free
        while True:
            base = candidate ^ labels[0]
            self._grow(max(base ^ label for label in labels))
            if base not in self._bases and not any(self._taken[base ^ label] for label in labels):
                break
            candidate = self._next_free(candidate + 1)
        self._bases.add(base)
        for label in labels:
            self._taken[base ^ label] = 1
        self._first_free = self._next_free(self._first_free)
        return base

    def _next_free(self, index: int) -> int:
        found = self._taken.find(0, index)
        return found if found >= 0 else len(self._taken)

    def _grow(self, index: int) -> None:
        while index >= len(self.units):
            self.units += [_UNUSED] * _BLOCK
            self._taken += bytes(_BLOCK)
