"""Shared-memory arenas: payloads cross as leases on bytes of a sealed memory file.

Only the producer of an arena allocates in it. The consumer reads and hands the lease's slot back.
"""

import mmap
import os
from bisect import insort

import msgspec

from ipc.memfd import create_sealed, map_shared

_ALIGNMENT = 4096  # leases start on pages, so tensors are aligned and freed pages can be returned
_KEPT_BYTES = 16 * 1024 * 1024  # of an idle arena, that may stay mapped in its producer


class Lease(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Bytes of an arena, lent by its producer to its consumer until released."""

    slot: int
    generation: int  # tells a stale release from a live one
    offset: int
    size: int  # bytes
    dtype: str = "u1"  # numpy's name for the element type
    shape: tuple[int, ...] = ()


class LeaseError(ValueError):
    """A lease that points outside its arena, or a release of what is not leased."""


def check_bounds(lease: Lease, arena_size: int) -> None:
    """Raise LeaseError unless the lease lies inside an arena of `arena_size` bytes."""
    if lease.offset < 0 or lease.size < 0 or lease.offset + lease.size > arena_size:
        raise LeaseError(f"lease of {lease.size} bytes at {lease.offset} is outside an arena of {arena_size}")


class ArenaProducer:
    """The allocating side: first fit over a sorted list of free extents."""

    def __init__(self, label: str, size: int) -> None:
        self.fd = create_sealed(label, size)
        self.size = size
        self._map = map_shared(self.fd)
        self._touched = 0  # the end of what was written since the last trim
        self._free: list[tuple[int, int]] = [(0, size)]  # (offset, size), sorted, never adjacent
        self._live: dict[int, tuple[int, int, int]] = {}  # slot -> (generation, offset, extent)
        self._generation = 0
        self._idle_slots: list[int] = []

    @property
    def leased_bytes(self) -> int:
        return sum(extent for _, _, extent in self._live.values())

    def lease(self, size: int, dtype: str = "u1", shape: tuple[int, ...] = ()) -> Lease | None:
        """Reserve `size` bytes, or None while there is no room. Raises LeaseError above the arena's size."""
        if size > self.size:
            raise LeaseError(f"{size} bytes exceed an arena of {self.size}")
        extent = max(_ALIGNMENT, -(-size // _ALIGNMENT) * _ALIGNMENT)
        for index, (offset, room) in enumerate(self._free):
            if room >= extent:
                self._free[index : index + 1] = [(offset + extent, room - extent)] if room > extent else []
                break
        else:
            return None
        slot = self._idle_slots.pop() if self._idle_slots else len(self._live)
        self._generation += 1
        self._live[slot] = (self._generation, offset, extent)
        return Lease(slot, self._generation, offset, size, dtype, shape or (size,))

    def write(self, lease: Lease, data: bytes | bytearray | memoryview, at: int = 0) -> None:
        """Copy `data` into the lease, `at` bytes from its start."""
        view = memoryview(data).cast("B")
        if at < 0 or at + len(view) > lease.size:
            raise LeaseError(f"{len(view)} bytes at {at} exceed a lease of {lease.size}")
        start = lease.offset + at
        self._map[start : start + len(view)] = view
        self._touched = max(self._touched, start + len(view))

    def release(self, slot: int, generation: int) -> None:
        """Take a lease back. Raises LeaseError if that slot and generation are not leased."""
        held = self._live.get(slot)
        if held is None or held[0] != generation:
            raise LeaseError(f"slot {slot} generation {generation} is not leased")
        _, offset, extent = self._live.pop(slot)
        self._idle_slots.append(slot)
        self._give_back(offset, extent)
        if not self._live:
            self._trim()

    def _give_back(self, offset: int, extent: int) -> None:
        insort(self._free, (offset, extent))
        merged: list[tuple[int, int]] = []
        for start, size in self._free:
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((start, size))
        self._free = merged

    def _trim(self) -> None:
        """Unmap what a rush has touched. Mapped pages are fast to write again, but count as our memory."""
        excess = -(-self._touched // _ALIGNMENT) * _ALIGNMENT - _KEPT_BYTES
        if excess > 0:
            self._map.madvise(mmap.MADV_DONTNEED, _KEPT_BYTES, excess)
            self._touched = _KEPT_BYTES

    def close(self) -> None:
        self._map.close()
        os.close(self.fd)


class ArenaConsumer:
    """The reading side, over an inherited descriptor."""

    def __init__(self, fd: int) -> None:
        self._map: mmap.mmap = map_shared(fd)
        self._view = memoryview(self._map)

    def view(self, lease: Lease) -> memoryview:
        """The lease's bytes, without a copy. Raises LeaseError if it points outside the arena."""
        check_bounds(lease, len(self._map))
        return self._view[lease.offset : lease.offset + lease.size]
