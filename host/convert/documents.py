"""Reads the small files beside a model's weights. Errors name the file, and the field at fault."""

from pathlib import Path
from typing import TypeVar

import msgspec

from host.convert.errors import ConversionError

_MAX_BYTES = 64 * 1024**2

T = TypeVar("T")


def read_document(folder: Path, name: str) -> bytes:
    """Raises ConversionError if the file is missing or large, OSError."""
    path = folder / name
    if not path.is_file():
        raise ConversionError(f"{name} is missing")
    if path.stat().st_size > _MAX_BYTES:
        raise ConversionError(f"{name} is larger than {_MAX_BYTES // 1024**2} MiB")
    return path.read_bytes()


def decode_document(content: bytes, name: str, kind: type[T]) -> T:
    """Raises ConversionError for a JSON file that is not as `kind` describes it."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConversionError(f"{name}: {error}") from error
