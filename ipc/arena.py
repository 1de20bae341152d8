"""Shared-memory arenas: large payloads cross between processes as leases on bytes of a sealed memory file.

Only the producer of an arena allocates in it. The consumer reads and returns the lease.
"""

import contextlib
import mmap
import os
import threading
import weakref

import msgspec

from ipc.extents import FreeExtents
from ipc.lease import Lease, LeaseError, check_bounds, check_tensor, vector_shape
from ipc.memfd import copy_range, create_sealed, map_shared, read_range, write_range

__all__ = ["ArenaConsumer", "ArenaProducer", "Lease", "LeaseError", "check_bounds"]

_ALIGNMENT = 4096  # leases start on pages, so tensors are aligned
_KEPT_BYTES = 16 * 1024 * 1024  # from an arena's start, may stay mapped in an idle frontend
_TRIMMED_BYTES = 4 * 1024 * 1024  # at a time
_RESIDENT_BYTES = 64 * 1024 * 1024  # from an arena's start, may stay in memory while it is idle


def _whole_pages(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


class _Live(msgspec.Struct):
    """A lease that is held."""

    generation: int
    offset: int
    extent: int  # bytes reserved: the lease's size rounded up to whole pages
    holders: int = 1


class ArenaProducer:
    """The allocating side.

    Belongs to one thread, except that `write_from` may run in others, and views may be filled there.
    """

    def __init__(self, label: str, size: int, fd: int | None = None) -> None:
        """Create an arena of `size` bytes, rounded up to whole pages, or allocate in the one at `fd`, whose
        descriptor the producer then owns."""
        self.fd = create_sealed(label, _whole_pages(size)) if fd is None else fd
        self.size = size = os.fstat(self.fd).st_size
        try:
            self._map = map_shared(self.fd)
        except OSError:
            os.close(self.fd)
            raise
        self._leased_to = 0  # the end of what may be in memory
        self._touched = 0  # the end of what was written through the mapping since the last trim
        self._free = FreeExtents(size)
        self._live: dict[int, _Live] = {}  # by slot
        self._generation = 0
        self._idle_slots: list[int] = []
        self._closing = threading.Lock()

    @classmethod
    def from_fd(cls, fd: int) -> "ArenaProducer":
        """Allocate in an inherited arena. The producer owns the descriptor from then on."""
        return cls("", os.fstat(fd).st_size, fd)

    @property
    def leased_bytes(self) -> int:
        """In whole pages. A lease counts once, however many holders it has."""
        return sum(live.extent for live in self._live.values())

    def lease(self, size: int, dtype: str = "u1", shape: tuple[int, ...] | None = None) -> Lease | None:
        """Reserve `size` bytes for a tensor, or return None while there is no room.

        Without a shape the tensor is a vector. Raises LeaseError if `size` exceeds the arena or does not
        match dtype and shape.
        """
        if size > self.size:
            raise LeaseError(f"{size} bytes exceed an arena of {self.size}")
        shape = vector_shape(size, dtype) if shape is None else shape
        check_tensor(size, dtype, shape)
        extent = max(_ALIGNMENT, _whole_pages(size))
        offset = self._free.take(extent)
        if offset is None:
            return None
        self._leased_to = max(self._leased_to, offset + extent)
        slot = self._idle_slots.pop() if self._idle_slots else len(self._live)
        self._generation += 1
        self._live[slot] = _Live(self._generation, offset, extent)
        return Lease(slot, self._generation, offset, size, dtype, shape)

    def share(self, lease: Lease) -> None:
        """Add a holder: the lease then takes one more release. Raises LeaseError if it is not live."""
        self._held(lease.slot, lease.generation).holders += 1

    def view(self, lease: Lease) -> memoryview:
        """The lease's bytes, writable, to fill in place. Raises LeaseError if the lease is not live.

        Whoever keeps the view past the release writes into somebody else's lease.
        """
        self._held(lease.slot, lease.generation)
        end = lease.offset + lease.size
        self._touched = max(self._touched, end)
        return memoryview(self._map)[lease.offset : end]

    def write(self, lease: Lease, data: bytes | bytearray | memoryview, at: int = 0) -> None:
        """Copy `data` into the lease, `at` bytes from its start. Raises LeaseError.

        Bytes past the first 16 MiB of the arena are not mapped and so never count in this process's resident
        memory. Mapping them anew after each trim took three times as long.
        """
        source = memoryview(data).cast("B")
        start = self._start(lease, at, len(source))
        mapped = source[: max(0, _KEPT_BYTES - start)]
        end = start + len(mapped)
        self._map[start:end] = mapped
        self._touched = max(self._touched, end)
        write_range(self.fd, end, source[len(mapped) :])

    def write_from(self, lease: Lease, fd: int, size: int, at: int = 0) -> None:
        """Copy the first `size` bytes of the file at `fd` into the lease, `at` bytes from its start.

        The bytes never count in this process's resident memory. Other threads run meanwhile and may close
        the arena. Raises LeaseError, also if the file is shorter, and OSError.
        """
        with self._closing:
            start = self._start(lease, at, size)
            target = os.dup(self.fd)  # the number of a closed descriptor may be another file's by then
        try:
            copied = copy_range(fd, 0, target, start, size)
        finally:
            os.close(target)
        if copied < size:
            raise LeaseError(f"the file ends after {copied} of {size} bytes")

    def release(self, slot: int, generation: int, *, trim: bool = True) -> bool:
        """Give one holder's claim back; the last one frees the bytes. Returns whether it was the last.

        With `trim`, an arena that is idle afterwards gives its memory back at once, which takes half a
        millisecond per MiB; without, the caller calls `trim_some`. Raises LeaseError if that slot and
        generation are not live.
        """
        live = self._held(slot, generation)
        live.holders -= 1
        if live.holders:
            return False
        del self._live[slot]
        self._idle_slots.append(slot)
        self._free.give_back(live.offset, live.extent)
        while trim and self.trim_some():
            pass
        return True

    def trim_some(self) -> bool:
        """While the arena is idle, give back some of the memory that large leases took. Returns whether
        there is more."""
        if self._live:
            return False
        self._unmap()
        size = min(_TRIMMED_BYTES, self._leased_to - _RESIDENT_BYTES)
        if size <= 0:
            return False
        self._leased_to -= size
        self._map.madvise(mmap.MADV_REMOVE, self._leased_to, size)
        return self._leased_to > _RESIDENT_BYTES

    def close(self) -> None:
        """End every lease. Views that still exist stay valid; the memory is freed with the last of them."""
        with self._closing:
            self._live.clear()
            os.close(self.fd)
        self._free = FreeExtents(0)
        with contextlib.suppress(BufferError):  # such views exist, and hold the mapping
            self._map.close()
        del self._map

    def _held(self, slot: int, generation: int) -> _Live:
        live = self._live.get(slot)
        if live is None or live.generation != generation:
            raise LeaseError(f"slot {slot} generation {generation} is not leased")
        return live

    def _start(self, lease: Lease, at: int, size: int) -> int:
        """Where in the arena `size` bytes begin, `at` bytes from a live lease's start. Raises LeaseError."""
        self._held(lease.slot, lease.generation)
        if at < 0 or size < 0 or at + size > lease.size:
            raise LeaseError(f"{size} bytes at {at} exceed a lease of {lease.size}")
        return lease.offset + at

    def _unmap(self) -> None:
        """Unmap what views have touched past the first 16 MiB: mapped pages count in our resident memory."""
        excess = _whole_pages(self._touched) - _KEPT_BYTES
        if excess > 0:
            self._map.madvise(mmap.MADV_DONTNEED, _KEPT_BYTES, excess)
            self._touched = _KEPT_BYTES


class ArenaConsumer:
    """The reading side, over an inherited descriptor, which it duplicates."""

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._close_fd = weakref.finalize(self, os.close, self._fd)
        self._map: mmap.mmap = map_shared(fd)
        self._size = len(self._map)

    def view(self, lease: Lease) -> memoryview:
        """The lease's bytes, without a copy, for a reader that releases only afterwards and writes nothing.

        Raises LeaseError if the lease is not one of this arena.
        """
        check_bounds(lease, self._size)
        return memoryview(self._map)[lease.offset : lease.offset + lease.size]

    def copy(self, lease: Lease) -> bytes:
        """The lease's bytes, copied once. Validate the copy: the producer, which may be dying, can still
        write to the original.

        Bytes past the first 16 MiB of the arena are read without mapping them, at half the speed, so that
        they never count in this process's resident memory. Raises LeaseError as `view` does.
        """
        check_bounds(lease, self._size)
        end = lease.offset + lease.size
        if end > _KEPT_BYTES:
            return read_range(self._fd, lease.offset, lease.size)
        return self._map[lease.offset : end]

    def close(self) -> None:
        """Views that still exist stay valid; the memory is freed with the last of them."""
        with contextlib.suppress(BufferError):  # such views exist, and hold the mapping
            self._map.close()
        del self._map
        self._close_fd()
