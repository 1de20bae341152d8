"""Writes IR with native code, and makes sure that all of it was written."""

import errno
import shutil
from pathlib import Path

from host.convert.errors import EXPORT, FREE_SPACE, ConversionError
from host.native_errors import summary
from ipc.ir import check_ir
from ipc.model_files import FileFault, list_files, missing_files

_FAILED_WRITE = ("iostream error", "ios_base::")  # of C++ streams, which do not say why
_MEGABYTE = 1_000_000


def check_room(folder: Path, needed: int) -> None:
    """Raise ConversionError unless the disk of `folder` has room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        need, left = (f"{size / _MEGABYTE:,.0f} MB" for size in (needed, free))
        raise ConversionError(f"it needs about {need}, but the disk of the store has {left} left", FREE_SPACE)


def disk_full() -> ConversionError:
    return ConversionError("the disk of the store is full", FREE_SPACE)


def is_disk_full(error: Exception) -> bool:
    """Whether an error of Python, or of native code, probably means that."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return any(text in str(error) for text in _FAILED_WRITE)


def save_with_genai(gguf: Path) -> None:
    """Write the IR of a GGUF file beside it, where its tokenizer is. Raises ConversionError, MemoryError."""
    from openvino_genai import LLMPipeline, Tokenizer

    try:
        LLMPipeline(gguf, Tokenizer(gguf.parent), "CPU", enable_save_ov_model=True)
    except MemoryError:
        raise
    except Exception as error:  # pybind11 maps C++ exceptions to many kinds
        if is_disk_full(error):
            raise disk_full() from error
        raise ConversionError(f"OpenVINO cannot read it ({summary(error)})", EXPORT) from error


def check_saved(folder: Path, task: str = "text") -> None:
    """Raise ConversionError unless `folder` holds a complete IR. A full disk does not always raise."""
    names = list_files(folder)
    if missing := missing_files(names, task):
        raise _incomplete(folder, missing[0])
    for xml in folder.glob("openvino_*.xml"):
        try:
            check_ir(xml)
        except FileFault as fault:
            raise _incomplete(folder, xml.name) from fault


def _incomplete(folder: Path, name: str) -> ConversionError:
    if shutil.disk_usage(folder).free < _MEGABYTE:
        return disk_full()
    return ConversionError(f"OpenVINO did not write {name} completely", EXPORT)
