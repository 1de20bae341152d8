"""The vocabulary that the engine's grammars are matched against.

The engine matches the pieces that the detokenizer's graph holds. Exports of SentencePiece models hold raw
pieces, such as `▁x` and `<0x0A>`, and turn them into text afterwards, so that no token would match a space or
a newline. Such a graph is loaded with the bytes that each piece stands for, which its later steps do not
change.
"""

import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

_XML, _WEIGHTS = "openvino_detokenizer.xml", "openvino_detokenizer.bin"
_MARK = "▁".encode()  # how SentencePiece writes a space
_BYTE_PIECE = re.compile(rb"<0x([0-9A-Fa-f]{2})>")
_LONGEST_CHARACTER = 4  # bytes of UTF-8
# The bytes of printable ASCII, of white space, and of the characters beyond ASCII that are in use.
_COMMON = frozenset(
    bytes([byte]) for byte in (9, 10, *range(32, 127), *range(0x80, 0xC0), *range(0xC2, 0xF1))
)


class Vocabulary:
    """Which characters the tokens can spell."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._short = frozenset(piece for piece in pieces if 0 < len(piece) <= _LONGEST_CHARACTER)

        self.spells_all = self._short >= _COMMON

    def unspelled(self, text: str) -> str | None:
        """A character of the text that neither is a token nor consists of tokens for its bytes, if any."""
        if self.spells_all:
            return None
        return next((character for character in text if not self._spells(character.encode())), None)

    def _spells(self, character: bytes) -> bool:
        return character in self._short or all(bytes([byte]) in self._short for byte in character)


class LoadedTokenizer(NamedTuple):
    native: Any  # an openvino_genai.Tokenizer
    pieces: Sequence[bytes] | None  # the bytes of each id; None if the engine's own vocabulary has them


def load_tokenizer(folder: Path) -> LoadedTokenizer:
    """Raises RuntimeError, OSError."""
    import openvino_genai as genai

    found = _raw_vocabulary(folder)
    if found is None:
        return LoadedTokenizer(genai.Tokenizer(folder), None)
    pieces, weights = found
    with tempfile.TemporaryDirectory(prefix="nacelle-tokenizer-") as name:
        copy = Path(name)
        for file in folder.iterdir():
            if file.name != _WEIGHTS and (file.suffix in (".json", ".jinja") or "tokenizer" in file.name):
                (copy / file.name).symlink_to(file.resolve())
        (copy / _WEIGHTS).write_bytes(weights)
        return LoadedTokenizer(genai.Tokenizer(copy), pieces)


def _raw_vocabulary(folder: Path) -> tuple[list[bytes], bytes] | None:
    """The bytes of each raw piece, and the weights with these in their place; None if none is raw."""
    try:
        layers, sources = _graph(folder / _XML)
        return _changed(layers, sources, (folder / _WEIGHTS).read_bytes())
    except (OSError, ElementTree.ParseError, KeyError, ValueError):
        return None  # the engine reports damaged files


def _changed(
    layers: dict[str, ElementTree.Element], sources: dict[tuple[str | None, str], str], weights: bytes
) -> tuple[list[bytes], bytes] | None:
    decoder = next((key for key, layer in layers.items() if layer.get("type") == "VocabDecoder"), None)
    places = [_place(layers.get(sources.get((decoder, port), ""))) for port in ("1", "2", "3")]
    if any(place is None or place[1] > len(weights) for place in places):
        return None
    starts, ends, characters = (slice(*place) for place in places if place is not None)
    spaces, fallback = _turns_marks_into_spaces(layers, sources, weights), _has(layers, "ByteFallback")
    if not (spaces or fallback):
        return None
    text = weights[characters]
    bounds = zip(np.frombuffer(weights[starts], "<i4"), np.frombuffer(weights[ends], "<i4"), strict=True)
    pieces = [meant(text[start:end], spaces, fallback) for start, end in bounds]
    offsets = np.cumsum([0, *map(len, pieces)], dtype="<i4")
    changed = bytearray(weights)
    changed[starts], changed[ends] = offsets[:-1].tobytes(), offsets[1:].tobytes()
    changed[characters] = b"".join(pieces).ljust(len(text), b"\0")
    return pieces, bytes(changed)


def meant(piece: bytes, spaces: bool = True, fallback: bool = True) -> bytes:
    """What a SentencePiece vocabulary's entry stands for: `spaces` where ▁ is one, `fallback` where <0xNN> is
    a byte."""
    byte = _BYTE_PIECE.fullmatch(piece) if fallback else None
    if byte:
        return bytes([int(byte[1], 16)])
    return piece.replace(_MARK, b" ") if spaces else piece


def _graph(xml: Path) -> tuple[dict[str, ElementTree.Element], dict[tuple[str | None, str], str]]:
    """The layers by id, and the layer from which each (layer, input) gets its values."""
    root = ElementTree.parse(xml).getroot()  # noqa: S314 - ipc.ir refuses documents with entities
    layers = {layer.attrib["id"]: layer for layer in root.iterfind("layers/layer")}
    edges = (edge.attrib for edge in root.iterfind("edges/edge"))
    return layers, {(edge["to-layer"], edge["to-port"]): edge["from-layer"] for edge in edges}


def _has(layers: dict[str, ElementTree.Element], kind: str) -> bool:
    return any(layer.get("type") == kind for layer in layers.values())


def _turns_marks_into_spaces(
    layers: dict[str, ElementTree.Element], sources: dict[tuple[str | None, str], str], weights: bytes
) -> bool:
    for key, layer in layers.items():
        if layer.get("type") == "RegexNormalization":
            places = [_place(layers.get(sources.get((key, port), ""))) for port in ("3", "4")]
            texts = [weights[slice(*place)] for place in places if place is not None]
            if texts == [_MARK, b" "]:
                return True
    return False


def _place(layer: ElementTree.Element | None) -> tuple[int, int] | None:
    """Where the weights hold a constant."""
    data = None if layer is None or layer.get("type") != "Const" else layer.find("data")
    if data is None:
        return None
    offset = int(data.attrib["offset"])
    return offset, offset + int(data.attrib["size"])
