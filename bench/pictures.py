"""Plain images as data URLs, written without a codec."""

import base64
import struct
import zlib
from random import Random

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = 2  # the colour type of PNG


def plain_png(size: int, colour: tuple[int, int, int]) -> bytes:
    """A PNG file of `size` × `size` pixels of one colour (0 to 255 each of red, green and blue)."""
    header = struct.pack(">IIBBBBB", size, size, 8, _RGB, 0, 0, 0)
    row = b"\0" + bytes(colour) * size  # with filter 0: the bytes as they are
    body = zlib.compressobj()
    data = b"".join([*(body.compress(row) for _ in range(size)), body.flush()])
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def data_urls(seed: int, index: int, count: int, size: int) -> list[str]:
    """`count` images of a random colour each, `size` × `size` pixels; those of each index differ."""
    random = Random(f"images {seed} {index}")  # noqa: S311 - reproducible, not secret
    urls = []
    for _ in range(count):
        colour = random.randrange(256), random.randrange(256), random.randrange(256)
        urls.append("data:image/png;base64," + base64.b64encode(plain_png(size, colour)).decode())
    return urls


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
