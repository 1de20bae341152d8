"""Writes IR with native code, and makes sure that all of it was written."""

import re
import shutil
from pathlib import Path

from host.convert.errors import EXPORT, ConversionError
from host.model_folder import REQUIRED_FILES
from host.native_errors import summary

_CONSTANT = re.compile(rb'<data [^>]*\boffset="(\d+)"[^>]*\bsize="(\d+)"')
_OUT_OF_SPACE = ("iostream error", "ios_base::")  # what C++ streams say of any failed write
_MEGABYTE = 1_000_000


def check_room(folder: Path, needed: int) -> None:
    """Raise ConversionError unless the disk of `folder` has room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise no_room(free, needed)


def no_room(free: int, needed: int | None = None) -> ConversionError:
    need = f"the conversion needs about {_megabytes(needed)}, and " if needed else ""
    return ConversionError(
        f"the disk of the store is full: {need}{_megabytes(free)} are free",
        "free some space, or choose another store with --store",
    )


def _megabytes(size: int) -> str:
    return f"{size / _MEGABYTE:,.0f} MB"


def save_with_genai(gguf: Path) -> None:
    """Write the IR of a GGUF file beside it. Raises ConversionError, whatever native code raises."""
    from openvino_genai import LLMPipeline

    try:
        LLMPipeline(gguf, "CPU", enable_save_ov_model=True)
    except MemoryError:
        raise
    except Exception as error:  # pybind11 maps C++ exceptions to many kinds
        if any(text in str(error) for text in _OUT_OF_SPACE):
            raise no_room(shutil.disk_usage(gguf.parent).free) from error
        raise ConversionError(f"OpenVINO cannot read it ({summary(error)})", EXPORT) from error


def check_saved(folder: Path) -> None:
    """Raise ConversionError unless `folder` holds a complete IR. A full disk does not always raise."""
    for name in REQUIRED_FILES:
        if not (folder / name).is_file() or (folder / name).stat().st_size == 0:
            raise _incomplete(folder, name)
    for xml in folder.glob("openvino_*.xml"):
        content = xml.read_bytes()
        ends = (int(offset) + int(size) for offset, size in _CONSTANT.findall(content))
        weights = xml.with_suffix(".bin")
        size = weights.stat().st_size if weights.is_file() else 0
        if not content.rstrip().endswith(b"</net>") or max(ends, default=0) > size:
            raise _incomplete(folder, xml.name)


def _incomplete(folder: Path, name: str) -> ConversionError:
    free = shutil.disk_usage(folder).free
    if free < _MEGABYTE:
        return no_room(free)
    return ConversionError(f"OpenVINO did not write {name} completely", EXPORT)
