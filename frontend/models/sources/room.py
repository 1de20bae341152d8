"""Whether the disk has room for what is about to be written."""

import errno
import os
import shutil
from pathlib import Path

_RESERVE = 0.02  # of what is needed, for small files and the file system's own


def check_room(folder: Path, needed: int, of: str = "") -> None:
    """Raise OSError (ENOSPC), with both sizes, unless `folder`'s disk has room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if needed > 0 and needed * (1 + _RESERVE) > free:
        reason = os.strerror(errno.ENOSPC)
        what = f"{of} needs" if of else "it needs"
        raise OSError(
            errno.ENOSPC, f"{what} {shown_bytes(needed)}, and {shown_bytes(free)} are free: {reason}"
        )


def shown_bytes(size: float) -> str:
    """For people: 12.3 MB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
