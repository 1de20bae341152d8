"""Recognizes files of other kinds by how they begin, so that an error can say what they are."""

from typing import NamedTuple

from host.convert.errors import DOWNLOAD_AGAIN

FIRST_BYTES = 512
_MODEL = "give the folder of the model, or a GGUF file of it"


_GGUF = "a GGUF file"
GGUF_MAGIC = b"GGUF"


class Foreign(NamedTuple):
    cause: str
    remedy: str


_OLD = Foreign("a GGML file", "get a GGUF file of this model")
_UNPACK = "unpack it first"
_BY_BEGINNING = {
    b"ggml": _OLD,
    b"lmgg": _OLD,
    b"fmgg": _OLD,
    b"tjgg": _OLD,
    b"ggjt": _OLD,
    b"ggmf": _OLD,
    GGUF_MAGIC: Foreign(_GGUF, "give that file itself as the model"),
    b"FUGG": Foreign("a GGUF file for big-endian machines", "get the little-endian one"),
    b"PK\x03\x04": Foreign("a zip archive or PyTorch weights", _MODEL),
    b"\x1f\x8b": Foreign("a gzip archive", _UNPACK),
    b"\x28\xb5\x2f\xfd": Foreign("a zstd archive", _UNPACK),
    b"version https://git-lfs": Foreign("a pointer of Git LFS", "fetch the file itself with: git lfs pull"),
}
_HTML = (b"<!doctype", b"<html", b"<?xml")


def describe_foreign(beginning: bytes, expected: str = _GGUF) -> Foreign:
    """What a file is that begins with these bytes, up to FIRST_BYTES, and what the user can do."""
    if beginning.startswith(GGUF_MAGIC) and expected == _GGUF:
        return Foreign("incomplete: it ends in the middle of its header", DOWNLOAD_AGAIN)
    if found := _recognize(beginning):
        return Foreign(f"not {expected} but {found.cause}", found.remedy)
    reason = "" if beginning.strip(b"\0") else ": it begins with zeros" if beginning else ": it is empty"
    return Foreign(f"not {expected}{reason}", DOWNLOAD_AGAIN)


def _recognize(beginning: bytes) -> Foreign | None:
    for magic, foreign in _BY_BEGINNING.items():
        if beginning.startswith(magic):
            return foreign
    if beginning.lstrip().lower().startswith(_HTML):
        return Foreign("a web page", "download the file itself")
    if beginning[8:10] in (b'{"', b"{ "):
        return Foreign("a safetensors file", _MODEL)
    if beginning.strip(b"\0") and _is_text(beginning):
        return Foreign("a text file", "name the file with the weights of a model")
    return None


def _is_text(beginning: bytes) -> bool:
    try:
        text = beginning.decode("utf-8", "strict" if len(beginning) < FIRST_BYTES else "ignore")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
