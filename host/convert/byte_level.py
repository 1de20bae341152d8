"""The alphabet of byte-level vocabularies: each of the 256 bytes is written as one printable character."""

_PRINTABLE = (range(0x21, 0x7F), range(0xA1, 0xAD), range(0xAE, 0x100))


def _alphabet() -> dict[str, int]:
    printable = {byte for run in _PRINTABLE for byte in run}
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


_BYTES = _alphabet()


def to_bytes(token: str) -> bytes:
    """The bytes that a token stands for; its UTF-8 if it is not written in this alphabet."""
    try:
        return bytes([_BYTES[character] for character in token])
    except KeyError:
        return token.encode()
