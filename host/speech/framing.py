"""How the packets of a codec become a file."""

from typing import Protocol


class Framing(Protocol):
    """Every method returns bytes of the file, in their order."""

    def header(self) -> bytes: ...

    def skip(self, packets: int) -> None:
        """Leave out packets before the first one."""

    def add(self, packets: list[bytes]) -> bytes: ...

    def end(self, samples: int) -> bytes:
        """What ends a file of this many samples."""


class Bare:
    """Each packet is complete: MP3, FLAC after its header, and AAC with an ADTS header before each packet."""

    def __init__(self, header: bytes = b"", adts_index: int | None = None) -> None:
        """`adts_index`: of the sample rate in ADTS; None: no ADTS."""
        self._header = header
        self._adts_index = adts_index

    def header(self) -> bytes:
        return self._header

    def skip(self, packets: int) -> None:
        pass

    def add(self, packets: list[bytes]) -> bytes:
        if self._adts_index is None:
            return b"".join(packets)
        return b"".join(_adts_header(len(packet), self._adts_index) + packet for packet in packets)

    def end(self, samples: int) -> bytes:  # noqa: ARG002 - the file just ends
        return b""


def _adts_header(size: int, rate_index: int) -> bytes:
    """Of one mono frame of MPEG-4 AAC LC with `size` bytes and no checksum (ISO/IEC 13818-7)."""
    length = size + 7
    bits = 0xFFF1 << 40 | 1 << 38 | rate_index << 34 | 1 << 30 | length << 13 | 0x7FF << 2
    return bits.to_bytes(7, "big")
