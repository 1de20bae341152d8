"""Where an upload is kept while it is decoded."""

import io
import tempfile
from typing import BinaryIO

from host.engines.base import Body

_IN_MEMORY_BYTES = 1024**2


def store(body: Body, folder: str = "") -> BinaryIO:
    """A readable file with a copy of `body`: in memory if it is small, else without a name in `folder`, or
    where temporary files are.

    Raises OSError, for example if the disk is full.
    """
    if len(body) <= _IN_MEMORY_BYTES:
        return io.BytesIO(body)
    file = tempfile.TemporaryFile(dir=folder or None, buffering=0)  # noqa: SIM115 - the caller closes it
    try:
        rest = memoryview(body)
        while rest:
            rest = rest[file.write(rest) :]
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file
