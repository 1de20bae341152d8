"""Images in data URLs: read as browsers read them, refused by reason."""

import base64
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frontend.media.data_url import decode_data_url
from frontend.media.given import ImageRefused, Media

LIMIT = 1000


@given(st.binary(min_size=1, max_size=LIMIT))
def test_what_base64_encodes_is_decoded_however_it_is_written(payload):
    encoded = base64.b64encode(payload).decode()
    lines = base64.encodebytes(payload).decode()
    for data in (encoded, encoded.rstrip("="), lines, f" {encoded}\t", urllib.parse.quote(encoded, safe="")):
        for head in ("data:image/png;base64", "DATA:image/PNG ; charset=x; BASE64 "):
            assert decode_data_url(f"{head},{data}", LIMIT) == Media("image/png", payload)


@given(st.binary(min_size=1, max_size=LIMIT))
def test_data_without_base64_is_percent_encoded(payload):
    url = f"data:image/webp;a=b,{urllib.parse.quote(payload, safe='')}"
    assert decode_data_url(url, LIMIT) == Media("image/webp", payload)


@given(st.text() | st.text(alphabet="data:image/png;base64,%=AQ_- \n#é"))
def test_any_text_is_an_image_or_refused(text):
    try:
        media = decode_data_url(f"data:{text}", LIMIT)
    except ImageRefused:
        return
    assert media.media_type.startswith("image/")
    assert media.payload


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:image/png;base64", "not a complete data URL"),
        ("data:", "not a complete data URL"),
        ("data:,x", "image type"),
        ("data:;base64,QUJD", "image type"),
        ("data:image/;base64,QUJD", "image type"),
        ("data:text/html;base64,QUJD", "image type"),
        ("data:application/octet-stream;base64,QUJD", "image type"),
        ("data:image/png;base64,", "no image data"),
        ("data:image/png;base64,#QUJD", "no image data"),
        ("data:image/png,", "no image data"),
        ("data:image/png;base64,Q", "not valid base64"),
        ("data:image/png;base64,QUJDR", "not valid base64"),
        ("data:image/png;base64,Q=JD", "not valid base64"),
        ("data:image/png;base64,QUI===", "not valid base64"),
        ("data:image/png;base64,QU-_", "not valid base64"),  # the alphabet of URLs
        ("data:image/png;base64,QUé=", "not valid base64"),
        ("data:image/png;base64,%zz", "not valid base64"),
        ("data:image/png," + "%41" * 300_001, "too many escaped characters"),
    ],
)
def test_the_reason_of_a_refusal_is_given(url, reason):
    with pytest.raises(ImageRefused, match=reason):
        decode_data_url(url, 10**6)


@pytest.mark.parametrize("size", [1000, 1001, 65_536 * 3 // 4 * 2, 100_001])
def test_the_limit_is_of_decoded_bytes(size):
    payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    for data in (f";base64,{base64.b64encode(payload).decode()}", f",{urllib.parse.quote(payload)}"):
        assert decode_data_url(f"data:image/png{data}", size).payload == payload
        with pytest.raises(ImageRefused, match=f"more than {size - 1} bytes"):
            decode_data_url(f"data:image/png{data}", size - 1)
