"""Images as clients send them: all of them become RGB, or are refused within bounds."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from host.engines.base import RequestRefused
from host.images import MAX_BYTES, MAX_IMAGES, decode_images
from ipc.messages import MediaPart

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(mode: str = "RGB", colour: Any = RED, size: tuple[int, int] = (40, 20)) -> Image.Image:
    return Image.new(mode, size, colour)


def decode(payload: bytes, detail: str = "auto") -> np.ndarray[Any, Any]:
    (pixels,) = decode_images([MediaPart("image/png", payload, detail)], "messages")
    assert pixels.dtype == np.uint8 and pixels.ndim == 4
    assert pixels.shape[0] == 1 and pixels.shape[3] == 3
    picture: np.ndarray[Any, Any] = pixels[0]
    return picture


def refusal(*payloads: bytes) -> str:
    with pytest.raises(RequestRefused) as caught:
        decode_images([MediaPart("image/png", payload) for payload in payloads], "messages")
    assert caught.value.error.param == "messages"
    return str(caught.value)


def halves(kind: str, **options: Any) -> bytes:
    """Red above blue, 60 wide and 80 high."""
    image = plain(size=(60, 80))
    ImageDraw.Draw(image).rectangle((0, 40, 60, 80), fill=BLUE)
    return encoded(image, kind, **options)


def two_frames(kind: str) -> bytes:
    return encoded(plain(), kind, save_all=True, append_images=[plain(colour=BLUE)], **_OPTIONS.get(kind, {}))


_OPTIONS: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_each_format_is_read(kind: str) -> None:
    pixels = decode(halves(kind, **_OPTIONS.get(kind, {})))
    assert pixels.shape == (80, 60, 3)
    assert np.abs(pixels[10, 30].astype(int) - RED).max() < 8
    assert np.abs(pixels[70, 30].astype(int) - BLUE).max() < 8


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_the_first_frame_of_an_animation_is_taken(kind: str) -> None:
    assert tuple(decode(two_frames(kind))[0, 0]) == RED


def test_an_image_is_turned_as_its_exif_orientation_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees
    pixels = decode(halves("JPEG", exif=exif, quality=95))
    assert pixels.shape == (60, 80, 3)
    assert pixels[30, 70, 0] > 240 and pixels[30, 10, 2] > 240  # what was above is now on the right


@pytest.mark.parametrize(
    ("image", "colour"),
    [
        (plain("L", 77), (77, 77, 77)),
        (plain("1", 1), WHITE),
        (plain().quantize(4), RED),
        (plain("LA", (0, 0)), WHITE),
        (plain("RGBA", (0, 0, 255, 0)), WHITE),
        (plain("RGBA", (0, 0, 255, 255)), BLUE),
        (plain("RGBA", (0, 0, 0, 51)), (204, 204, 204)),
        (Image.fromarray(np.full((20, 40), 0x8080, np.uint16)), (128, 128, 128)),
        (Image.fromarray(np.full((20, 40), 0xFFFF, np.uint16)), WHITE),
    ],
)
def test_any_kind_of_pixels_becomes_rgb(image: Image.Image, colour: tuple[int, int, int]) -> None:
    pixels = decode(encoded(image))
    assert pixels.shape == (20, 40, 3)
    assert np.abs(pixels[0, 0].astype(int) - colour).max() <= 1


def test_a_palette_may_have_a_transparent_colour() -> None:
    assert tuple(decode(encoded(plain("P", 0), "GIF", transparency=0))[0, 0]) == WHITE
    assert tuple(decode(encoded(plain("P", 0), transparency=0))[0, 0]) == WHITE


def test_a_grey_of_16_bits_may_be_transparent() -> None:
    grey = Image.fromarray(np.array([[0, 0x8000]], np.uint16))
    assert decode(encoded(grey, transparency=0))[0].tolist() == [[255, 255, 255], [128, 128, 128]]


def test_cmyk_is_converted() -> None:
    pixels = decode(encoded(plain("CMYK", (0, 255, 255, 0)), "JPEG", quality=95))
    assert np.abs(pixels[0, 0].astype(int) - RED).max() < 8


def test_low_detail_makes_an_image_smaller() -> None:
    large = encoded(plain(size=(1600, 800)))
    assert decode(large).shape == (800, 1600, 3)
    assert decode(large, "low").shape == (256, 512, 3)


def test_a_photograph_of_many_pixels_is_scaled_down() -> None:
    assert decode(encoded(plain(size=(6000, 3000)), "JPEG")).shape == (2048, 4096, 3)


def test_a_single_pixel_is_an_image() -> None:
    assert decode(encoded(plain(size=(1, 1)))).shape == (1, 1, 3)


# --- refused ------------------------------------------------------------------------------------------


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100))


def test_a_refusal_names_the_image() -> None:
    good = encoded(plain())
    assert refusal(good, b"", good).startswith("image 2 is empty")
    assert refusal(good, good, b"nonsense").startswith("image 3 is damaged, or not a PNG")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_truncated_image_is_refused(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    whole = encoded(Image.fromarray(noise), kind)
    for length in (20, len(whole) // 2):
        assert refusal(whole[:length]).startswith("image 1 is damaged")


@pytest.mark.parametrize(
    "payload", [b"\0" * 5000, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n"]
)
def test_other_files_are_refused(payload: bytes) -> None:
    assert refusal(payload) == "image 1 is damaged, or not a PNG, JPEG, WebP or GIF file"


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "ICO", "PPM", "TGA"])
def test_other_formats_of_images_are_refused(kind: str) -> None:
    assert refusal(encoded(plain(), kind)) == "image 1 is damaged, or not a PNG, JPEG, WebP or GIF file"


@pytest.mark.parametrize(("width", "height"), [(8193, 8192), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_the_size_is_checked_before_anything_is_decoded(width: int, height: int) -> None:
    assert "pixels" in refusal(png_header(width, height))


def test_all_images_of_a_request_share_one_limit() -> None:
    large = encoded(plain("1", 1, (6000, 6000)))
    assert refusal(large, large).startswith("image 2 has 6000x6000 pixels, which makes 72000000")


def test_very_elongated_images_are_refused() -> None:
    assert "one side must be at most 200 times the other" in refusal(encoded(plain(size=(2010, 10))))
    assert decode(encoded(plain(size=(2000, 10)))).shape == (10, 2000, 3)


def test_files_that_are_too_large_are_refused() -> None:
    assert refusal(b"\0" * (MAX_BYTES + 1)).startswith(f"image 1 has {MAX_BYTES + 1} bytes")


def test_too_many_images_are_refused() -> None:
    assert refusal(*[b""] * (MAX_IMAGES + 1)).startswith(f"{MAX_IMAGES + 1} images are too many")


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    photo = encoded(plain(size=(64, 64)), "JPEG", progressive=True)
    scan = photo[photo.index(b"\xff\xda") : photo.rindex(b"\xff\xda")]
    assert "scans" in refusal(photo[:-2] + scan * 200 + photo[-2:])


def test_damaged_metadata_leave_the_pixels_readable() -> None:
    assert decode(halves("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).shape == (80, 60, 3)


def test_any_damage_is_a_refusal_or_an_image() -> None:
    rng = np.random.default_rng(1)
    for kind in ("PNG", "JPEG", "WEBP", "GIF"):
        whole = bytearray(halves(kind))
        for _ in range(40):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(damaged), 4):
                damaged[place] = rng.integers(0, 256)
            try:
                decode(bytes(damaged))
            except RequestRefused as refused:
                assert str(refused).startswith("image 1 ")
