"""Opus packets in Ogg pages (RFC 3533, RFC 7845)."""

import struct
import zlib

_PACKETS_IN_PAGE = 5  # of 20 ms each; a page is sent as soon as it is full
_GRANULES_PER_SECOND = 48_000  # whatever the rate of the input
_SERIAL = 0x4E41434C  # the one stream of the file
_FIRST, _LAST = 2, 4  # flags of pages
_MAX_LACE = 255

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class OggOpus:
    """Writes the pages of one stream. A page holds a fixed number of packets, so that its number and position
    follow from those of its first packet."""

    def __init__(self, head: bytes, sample_rate: int, packet_samples: int) -> None:
        """`head`: the OpusHead header. Samples count at `sample_rate`."""
        self._head = head
        self._scale = _GRANULES_PER_SECOND // sample_rate
        self._packet_granules = packet_samples * self._scale
        self._pre_skip = int.from_bytes(head[10:12], "little")
        self._packets: list[bytes] = []  # of the page that is not full yet
        self._page = 2  # its number; the headers are pages 0 and 1
        self._done = 0  # packets on the pages before

    def header(self) -> bytes:
        tags = b"OpusTags" + struct.pack("<I7sI", 7, b"nacelle", 0)
        return _page([self._head], 0, 0, _FIRST) + _page([tags], 0, 1)

    def skip(self, packets: int) -> None:
        """Leave out packets before the first one."""
        pages = packets // _PACKETS_IN_PAGE
        self._page += pages
        self._done += pages * _PACKETS_IN_PAGE
        self._packets = [b"\0"] * (packets % _PACKETS_IN_PAGE)  # to be dropped by the caller's own skip

    def add(self, packets: list[bytes]) -> bytes:
        """The pages that these packets fill."""
        pages = []
        for packet in packets:
            if len(self._packets) == _PACKETS_IN_PAGE:
                pages.append(self._flush())
            self._packets.append(packet)
        return b"".join(pages)

    def end(self, samples: int) -> bytes:
        """The last page of a stream of this many samples."""
        length = self._pre_skip + samples * self._scale
        return self._flush(_LAST, length)

    def _flush(self, flags: int = 0, length: int | None = None) -> bytes:
        position = (self._done + len(self._packets)) * self._packet_granules
        if length is not None:
            position = min(position, length)
        page = _page(self._packets, position, self._page, flags)
        self._done += len(self._packets)
        self._page += 1
        self._packets = []
        return page


def _page(packets: list[bytes], position: int, number: int, flags: int = 0) -> bytes:
    lacing = b"".join(_lacing(len(packet)) for packet in packets)
    head = struct.pack("<4sBBqIII", b"OggS", 0, flags, position, _SERIAL, number, 0)
    page = head + bytes([len(lacing)]) + lacing + b"".join(packets)
    return page[:22] + struct.pack("<I", _crc(page)) + page[26:]


def _lacing(size: int) -> bytes:
    return bytes([_MAX_LACE]) * (size // _MAX_LACE) + bytes([size % _MAX_LACE])


def _crc(page: bytes) -> int:
    """Ogg's CRC-32: zlib's polynomial with the bits of bytes and result reversed, from 0 and not inverted."""
    crc = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{crc:032b}"[::-1], 2)
