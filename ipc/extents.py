"""Which bytes of an arena are free: first fit over sorted extents. Pure bookkeeping, no memory is touched."""

from bisect import insort


class FreeExtents:
    """The free parts of `size` bytes. Extents are (offset, size) pairs, sorted and never adjacent."""

    def __init__(self, size: int) -> None:
        self.extents: list[tuple[int, int]] = [(0, size)]

    def take(self, size: int) -> int | None:
        """Reserve the first `size` bytes that fit and return their offset, or None if there is no room."""
        for index, (offset, room) in enumerate(self.extents):
            if room >= size:
                rest = [(offset + size, room - size)] if room > size else []
                self.extents[index : index + 1] = rest
                return offset
        return None

    def give_back(self, offset: int, size: int) -> None:
        """Free an extent that `take` reserved, and merge it with its free neighbours."""
        insort(self.extents, (offset, size))
        merged: list[tuple[int, int]] = []
        for start, length in self.extents:
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((start, length))
        self.extents = merged
