"""Recognizes files that are not GGUF by how they begin, so that an error can say what they are."""

from typing import NamedTuple

from host.convert.errors import DOWNLOAD_AGAIN

FIRST_BYTES = 512
_FOLDER = "give the folder of the model, or a GGUF file of it"


class Foreign(NamedTuple):
    cause: str
    remedy: str


_OLD = Foreign("not a GGUF file but its predecessor GGML", "get a GGUF file of this model")
_BY_BEGINNING = {
    b"ggml": _OLD,
    b"lmgg": _OLD,
    b"fmgg": _OLD,
    b"tjgg": _OLD,
    b"ggjt": _OLD,
    b"ggmf": _OLD,
    b"FUGG": Foreign("the GGUF file is for big-endian machines", "get the little-endian one"),
    b"PK\x03\x04": Foreign("not a GGUF file but a zip archive or PyTorch weights", _FOLDER),
    b"\x1f\x8b": Foreign("not a GGUF file but a gzip archive", "unpack it first"),
    b"\x28\xb5\x2f\xfd": Foreign("not a GGUF file but a zstd archive", "unpack it first"),
    b"version https://git-lfs": Foreign(
        "not a GGUF file but a pointer of Git LFS", "fetch the file itself with: git lfs pull"
    ),
}
_HTML = (b"<!doctype", b"<html", b"<?xml")


def describe_foreign(beginning: bytes) -> Foreign:
    """What a file is that begins with these bytes, up to FIRST_BYTES, and what the user can do."""
    if not beginning:
        return Foreign("not a GGUF file: it is empty", DOWNLOAD_AGAIN)
    for magic, foreign in _BY_BEGINNING.items():
        if beginning.startswith(magic):
            return foreign
    if beginning.lstrip().lower().startswith(_HTML):
        return Foreign("not a GGUF file but a web page", "download the file itself")
    if beginning[8:10] in (b'{"', b"{ "):
        return Foreign("not a GGUF file but a safetensors file", _FOLDER)
    if not beginning.strip(b"\0"):
        return Foreign("not a GGUF file: it begins with zeros", DOWNLOAD_AGAIN)
    if _is_text(beginning):
        return Foreign("not a GGUF file but a text", "give the GGUF file of a model")
    return Foreign("not a GGUF file", DOWNLOAD_AGAIN)


def _is_text(beginning: bytes) -> bool:
    try:
        text = beginning.decode("utf-8", "strict" if len(beginning) < FIRST_BYTES else "ignore")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
