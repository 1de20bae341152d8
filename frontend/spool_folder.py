"""Where uploads are kept, found without what handles them."""

import os
import re
import tempfile
from pathlib import Path

from frontend.config import ConfigError
from frontend.config_values import expanded
from frontend.shortened import shown_path

_IN_MEMORY = {"tmpfs", "ramfs"}
_ESCAPED = re.compile(r"\\([0-7]{3})")  # a blank or backslash in a mount point


def spool_folder(configured: str | None) -> Path:
    """Where uploads are kept: the configured folder, else one for temporary files, on a disk if there is one.

    Raises ConfigError.
    """
    if configured is not None:
        folder = expanded(configured, "spool")
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise ConfigError(
                f"spool: {shown_path(folder)} cannot be written to; choose a folder with --spool"
            )
        return folder
    mounts = _mounts()
    temporary = Path(tempfile.gettempdir())
    on_disk = (
        folder
        for folder in (temporary, Path("/var/tmp"))  # noqa: S108 - the file has no name
        if os.access(folder, os.W_OK) and _file_system(folder, mounts) not in _IN_MEMORY
    )
    return next(on_disk, temporary)


def is_in_memory(folder: Path) -> bool:
    """Whether what is written there takes memory."""
    return _file_system(folder, _mounts()) in _IN_MEMORY


def _mounts() -> dict[str, str]:
    """Mount point → type of file system. Not by psutil, whose import alone is felt in short commands."""
    lines = Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines()
    fields = (line.split(" ") for line in lines)
    return {_ESCAPED.sub(lambda code: chr(int(code[1], 8)), place): kind for _, place, kind, *_ in fields}


def _file_system(folder: Path, mounts: dict[str, str]) -> str:
    resolved = folder.resolve()
    return next((mounts[str(path)] for path in (resolved, *resolved.parents) if str(path) in mounts), "")
