"""Anonymous shared memory: the only module that creates and maps memory files. Linux only."""

import fcntl
import mmap
import os
from collections.abc import Sequence

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_MAX_PARTS = 1024  # of one system call: IOV_MAX
_CHUNK_BYTES = 256 * 1024  # of a copy between files: stays in the L2 cache


def create_sealed(label: str, size: int) -> int:
    """Create a memory file of `size` bytes that nobody can resize. It has no name in any file system.

    Returns its descriptor, which child processes inherit only if it is passed on. `label` appears in
    /proc/PID/maps. Raises OSError.
    """
    fd = os.memfd_create(label, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def map_shared(fd: int) -> mmap.mmap:
    """Map the whole file at `fd`. The mapping outlives the descriptor."""
    return mmap.mmap(fd, os.fstat(fd).st_size, mmap.MAP_SHARED)


def copy_range(source: int, source_offset: int, target: int, target_offset: int, size: int) -> int:
    """Copy `size` bytes from one file to another through a small buffer, without mapping either.

    Returns the number of bytes copied, which is smaller only if the source ends first. Uses neither file's
    position. Raises OSError.
    """
    buffer = memoryview(bytearray(min(size, _CHUNK_BYTES)))
    done = 0
    while done < size:
        count = os.preadv(source, [buffer[: size - done]], source_offset + done)
        if not count:
            break
        write_range(target, target_offset + done, buffer[:count])
        done += count
    return done


def read_range(fd: int, offset: int, size: int) -> bytes:
    """Read `size` bytes of the file at `fd` without mapping them. Shorter only if the file ends first."""
    parts = []
    while size > 0 and (part := os.pread(fd, size, offset)):  # one call reads at most 2 GiB
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def write_range(fd: int, offset: int, data: memoryview) -> None:
    """Write all bytes of `data` to the file at `fd` without mapping it. Raises OSError."""
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def write_parts(fd: int, offset: int, parts: Sequence[bytes]) -> None:
    """Write the parts one behind the other without joining them. Raises OSError."""
    left = [memoryview(part) for part in parts if part]
    while left:
        written = os.pwritev(fd, left[:_MAX_PARTS], offset)
        offset += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if written:
            left[0] = left[0][written:]
