"""Where an upload is kept while it is decoded."""

import io
import os
import tempfile
from typing import BinaryIO

from host.engines.base import Body

_IN_MEMORY_BYTES = 1024**2
_ON_DISK = "/var/tmp"  # noqa: S108 - the file has no name; /tmp may be in memory


def store(body: Body) -> BinaryIO:
    """A readable file with a copy of `body`: in memory if it is small, else on disk, without a name.

    Raises OSError, for example if the disk is full.
    """
    if len(body) <= _IN_MEMORY_BYTES:
        return io.BytesIO(body)
    folder = _ON_DISK if os.access(_ON_DISK, os.W_OK | os.X_OK) else None
    file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - the caller closes it
    try:
        rest = memoryview(body)
        while rest:
            rest = rest[file.write(rest) :]
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file
