"""Images in `data:` URLs (RFC 2397), read as leniently as browsers read them. Pure."""

import binascii
import urllib.parse
from collections.abc import Iterator

from frontend.media.given import ImageRefused, Media, check_size

_WHITESPACE = " \t\n\r\f"
_SLICE_CHARACTERS = 64 * 1024  # decoded at once, with the interpreter's lock held; a multiple of 4
_MAX_HEAD_CHARACTERS = 1000
_MAX_ESCAPES = 300_000  # such as %2B; each costs more memory than a byte

_EXAMPLE = "data:image/png;base64,…"
_OF_BASE64 = "data:image/unknown;base64,"  # whoever decodes the bytes finds out what they are


def is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"


def as_data_url(image: str) -> str:
    """A data URL of an image that is given as base64, or as such a URL already."""
    return image if is_data_url(image) else _OF_BASE64 + image


def data_characters(url: str) -> int:
    """The length of a data URL; 0 for others."""
    return len(url) if is_data_url(url) else 0


def decode_data_url(url: str, max_bytes: int) -> Media:
    """The image in a data URL. Raises ImageRefused.

    Base64 may lack its padding and contain whitespace; its alphabet is the standard one. Takes tens of
    milliseconds for 10 MB, so call it in a thread if the URL is long.
    """
    comma = url.find(",", 5, 5 + _MAX_HEAD_CHARACTERS)
    if comma < 0:
        raise ImageRefused(f"is not a complete data URL; use {_EXAMPLE}")
    kind, *parameters = (part.strip(_WHITESPACE).lower() for part in url[5:comma].split(";"))
    if not kind.startswith("image/") or kind == "image/":
        raise ImageRefused(f"must be of an image type, such as {_EXAMPLE}")
    data = url[comma + 1 :].partition("#")[0]
    if data.count("%") > _MAX_ESCAPES:
        raise ImageRefused("has too many escaped characters; use base64")
    if parameters and parameters[-1] == "base64":
        payload = _from_base64(data, max_bytes)
    else:
        payload = urllib.parse.unquote_to_bytes(data)
    if not payload:
        raise ImageRefused("contains no image data")
    check_size(len(payload), max_bytes)
    return Media(kind, payload)


def _from_base64(data: str, max_bytes: int) -> bytes:
    if "%" in data:
        data = urllib.parse.unquote(data, "latin-1")
    for character in _WHITESPACE:
        data = data.replace(character, "")
    digits = data.rstrip("=")
    check_size(len(digits) * 3 // 4, max_bytes)
    if len(data) - len(digits) > 2 or "=" in digits or len(digits) % 4 == 1:
        raise ImageRefused("holds data that is not valid base64")
    try:
        return b"".join(map(_decoded, _slices(digits)))
    except ValueError:  # also for characters outside ASCII
        raise ImageRefused("holds data that is not valid base64") from None


def _slices(digits: str) -> Iterator[str]:
    for start in range(0, len(digits), _SLICE_CHARACTERS):
        yield digits[start : start + _SLICE_CHARACTERS]


def _decoded(digits: str) -> bytes:
    return binascii.a2b_base64(digits + "=" * (-len(digits) % 4), strict_mode=True)
