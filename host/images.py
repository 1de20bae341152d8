"""Decodes images within bounds: whatever a client sends becomes RGB, or is refused."""

import io
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from host.engines.base import RequestRefused
from ipc.errors import ErrorCode
from ipc.messages import MediaPart

MAX_IMAGES = 64  # in one request
MAX_BYTES = 32 * 1024**2  # of one file
MAX_PIXELS = 64 * 1024**2  # of all images of a request
MAX_RATIO = 200  # of the longer side to the shorter: models enlarge the shorter side to a fixed length
_LONGEST_SIDE = 4096  # pixels; larger images are scaled down, since models would do the same
_LOW_DETAIL_SIDE = 512  # pixels
_MAX_JPEG_SCANS = 100  # each scan of a progressive JPEG costs as much as a whole image
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_START_OF_SCAN = b"\xff\xda"
# A table, since floats would take 8 times the memory.
_FROM_16_BITS = (np.arange(65536) / 257).round().astype(np.uint8)
_WHITE = (255, 255, 255, 255)

Pixels = np.ndarray[Any, np.dtype[np.uint8]]  # [1, height, width, 3], RGB


def check_images(parts: Sequence[MediaPart], param: str) -> None:
    """Read the headers: formats and sizes. Raises RequestRefused as `decode_images`."""
    for _ in _opened(parts, param):
        pass


def decode_images(parts: Sequence[MediaPart], param: str) -> list[Pixels]:
    """The first frame of each image, upright, with transparency on white. Sizes are checked before decoding.

    Raises RequestRefused, naming the image by its place in the request, from 1.
    """
    decoded = []
    for number, (part, image) in enumerate(zip(parts, _opened(parts, param), strict=True), 1):
        try:
            decoded.append(_decode(image, part.detail))
        except _Unusable as fault:
            raise _refusal(f"image {number} {fault}", param) from fault
    return decoded


def _opened(parts: Sequence[MediaPart], param: str) -> Iterator[Image.Image]:
    if len(parts) > MAX_IMAGES:
        raise _refusal(f"{len(parts)} images are too many; send at most {MAX_IMAGES}", param)
    pixels = 0
    for number, part in enumerate(parts, 1):
        try:
            image = _open(part.payload)
            pixels += image.width * image.height
            _check_size(image, pixels)
        except _Unusable as fault:
            raise _refusal(f"image {number} {fault}", param) from fault
        yield image


class _Unusable(Exception):
    """The text completes "image 1 …"."""


def _refusal(message: str, param: str) -> RequestRefused:
    return RequestRefused(ErrorCode.INVALID_VALUE, message, param)


def _open(payload: bytes) -> Image.Image:
    """Reads the header alone."""
    if not payload:
        raise _Unusable("is empty")
    if len(payload) > MAX_BYTES:
        raise _Unusable(f"has {len(payload)} bytes; send at most {MAX_BYTES}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are checked next, by our own limits
            image = Image.open(io.BytesIO(payload), formats=_FORMATS)
    except Image.DecompressionBombError as error:
        raise _Unusable(f"has too many pixels; send at most {MAX_PIXELS} in one request") from error
    except Exception as error:  # decoders raise almost anything
        raise _Unusable("is damaged, or not a PNG, JPEG, WebP or GIF file") from error
    if image.format in ("JPEG", "MPO") and payload.count(_START_OF_SCAN) > _MAX_JPEG_SCANS:
        raise _Unusable(f"is a JPEG with more than {_MAX_JPEG_SCANS} scans; save it again")
    return image


def _check_size(image: Image.Image, pixels: int) -> None:
    """`pixels`: of the images up to this one."""
    width, height = image.size
    if pixels > MAX_PIXELS:
        total = f"has {width}x{height} pixels"
        raise _Unusable(f"{total}, which makes {pixels}; send at most {MAX_PIXELS} in one request")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise _Unusable(f"is {width}x{height}: one side must be at most {MAX_RATIO} times the other")


def _decode(image: Image.Image, detail: str) -> Pixels:
    side = _LOW_DETAIL_SIDE if detail == "low" else _LONGEST_SIDE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.draft(None, (side, side))  # a JPEG may be decoded at a fraction of its size
            image.load()
            rgb = _to_rgb(_upright(image))
            if max(rgb.size) > side:
                rgb.thumbnail((side, side), Image.Resampling.LANCZOS)
            return np.asarray(rgb, dtype=np.uint8)[np.newaxis]
    except Exception as error:
        raise _Unusable("is damaged or incomplete") from error


def _upright(image: Image.Image) -> Image.Image:
    """As its EXIF orientation says."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata leave the pixels as they are
        return image


def _to_8_bits(image: Image.Image) -> Image.Image:
    """A grey image of 16 bits per pixel, or more. A PNG may name a grey that is transparent."""
    values = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
    grey = Image.fromarray(_FROM_16_BITS[values], "L")
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8), "L"))
    return grey


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # 16 bits per pixel, or more
        image = _to_8_bits(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, _WHITE)
        ground.alpha_composite(rgba)
        image = ground
    return image.convert("RGB")
