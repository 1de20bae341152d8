"""The audio of a session that no item has taken yet: mono PCM of 16 bits a sample."""

SAMPLE_BYTES = 2


class AudioBuffer:
    """Positions are milliseconds of the session's audio, from its beginning."""

    def __init__(self, rate: int, start_ms: int = 0) -> None:
        """`rate`: samples per second."""
        self.rate = rate
        self._origin_ms = start_ms  # of the first byte that was ever appended
        self._dropped = 0  # bytes
        self._data = bytearray()

    def __len__(self) -> int:
        """In bytes."""
        return len(self._data)

    @property
    def start_ms(self) -> int:
        return self._origin_ms + self._milliseconds(self._dropped)

    @property
    def end_ms(self) -> int:
        return self._origin_ms + self._milliseconds(self._dropped + len(self._data))

    def append(self, data: bytes) -> None:
        self._data += data

    def between(self, start_ms: int, end_ms: int) -> bytes:
        """Whole samples, as far as they are here."""
        return bytes(self._data[self._index(start_ms) : self._index(end_ms)])

    def drop_before(self, position_ms: int) -> None:
        count = min(self._index(position_ms), len(self._data))
        del self._data[:count]
        self._dropped += count

    def _index(self, position_ms: int) -> int:
        samples = max(0, position_ms - self._origin_ms) * self.rate // 1000
        return max(0, samples * SAMPLE_BYTES - self._dropped)

    def _milliseconds(self, count: int) -> int:
        return count * 1000 // (self.rate * SAMPLE_BYTES)
