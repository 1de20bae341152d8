"""Unicode normalization of prompts, where the model's tokenizer asks for it.

OpenVINO's tokenizers only approximate it: they compose characters, but do not reorder combining marks. Text
that is normalized already passes through them unchanged.
"""

import re
import sys
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import groupby
from pathlib import Path

import msgspec

_LONGEST_RUN = 256  # combining marks in a row; sorting them takes quadratic time
_MAX_FILE_BYTES = 256 * 1024**2
_FILES = ("tokenizer.json", "tokenizer_config.json")  # of Hugging Face; of models converted from GGUF files


class _Normalizer(msgspec.Struct):
    type: str = ""
    normalizers: "list[_Normalizer]" = []


class _File(msgspec.Struct):
    """The part of a file that is read."""

    normalizer: _Normalizer | None = None


def find_normalizer(folder: Path) -> Callable[[str], str]:
    """What to do with each text before the tokenizer of this model folder gets it."""
    return to_nfc if any(_asks_for_nfc(folder / name) for name in _FILES) else _unchanged


def to_nfc(text: str) -> str:
    """Normalization form C, except within long runs of combining marks, which no language has."""
    if text.isascii():
        return text
    return "".join(
        part if place % 2 else unicodedata.normalize("NFC", part)
        for place, part in enumerate(_long_runs().split(text))
    )


def _unchanged(text: str) -> str:
    return text


@cache
def _long_runs() -> re.Pattern[str]:
    codes = range(sys.maxunicode + 1)
    runs = [
        list(run) for kind, run in groupby(codes, lambda code: unicodedata.combining(chr(code)) > 0) if kind
    ]
    marks = "".join(f"{chr(run[0])}-{chr(run[-1])}" for run in runs)
    return re.compile(f"([{marks}]{{{_LONGEST_RUN + 1},}})")


def _asks_for_nfc(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size > _MAX_FILE_BYTES:
        return False
    try:
        step = msgspec.json.decode(file.read_bytes(), type=_File).normalizer
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return step is not None and any(part.type == "NFC" for part in (step, *step.normalizers))
