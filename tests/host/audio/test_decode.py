"""Decoding: every kind of file a browser or phone makes, and every kind of damage."""

import contextlib
import io
import random
import struct
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest

from host.audio.decode import decode
from host.audio.samples import RATE, Samples
from host.engines.base import RequestRefused
from ipc.errors import ErrorCode
from tests.host.audio.files import KINDS, encoded, surround

SECONDS = 3


def decoded(file: bytes, pcm_rate: int = 0) -> Samples:
    return np.concatenate(list(decode(io.BytesIO(file), pcm_rate)))


def refusal(file: bytes, pcm_rate: int = 0) -> str:
    with pytest.raises(RequestRefused) as refused:
        decoded(file, pcm_rate)
    error = refused.value.error
    assert error.code is ErrorCode.INVALID_VALUE
    assert error.param == ("pcm_rate" if pcm_rate else "file")
    return error.message


def wav(
    data: bytes, *, format_tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, size: int = -1
) -> bytes:
    block = channels * bits // 8
    head = struct.pack("<HHIIHH", format_tag, channels, rate, rate * block % 2**32, block % 2**16, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data"
    body += struct.pack("<I", len(data) if size < 0 else size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def sweep(seconds: float = SECONDS) -> Samples:
    """A tone that rises, so that each moment differs from the others."""
    time = np.arange(int(seconds * RATE)) / RATE
    rising: Samples = (0.5 * np.sin(2 * np.pi * (200 + 300 * time) * time)).astype(np.float32)
    return rising


def delay(original: Samples, found: Samples) -> int:
    """By how many samples `found` is later, judged by the middle second."""
    middle = original[RATE : 2 * RATE]
    shifts = range(-1600, 1600, 4)
    return max(shifts, key=lambda shift: float(np.dot(middle, found[RATE + shift : 2 * RATE + shift])))


@pytest.mark.parametrize("kind", KINDS)
def test_the_sound_of_every_format_is_the_same_at_the_same_time(kind: str) -> None:
    found = decoded(encoded(sweep(), kind))
    assert found.dtype == np.float32
    assert abs(len(found) - SECONDS * RATE) < 0.1 * RATE
    assert abs(delay(sweep(), found)) < 0.06 * RATE, "encoders of AAC add a beginning"
    assert 0.2 < np.std(found) < 0.4, "mono becomes stereo at 0.7 of its loudness"


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_truncated_file_what_is_there_is_decoded(kind: str) -> None:
    file = encoded(sweep(), kind)
    if kind == "m4a":  # its index is at the end
        assert "not audio of a known format" in refusal(file[: len(file) // 2])
    else:
        found = decoded(file[: len(file) // 2])
        assert 0.25 * SECONDS * RATE < len(found) < 0.75 * SECONDS * RATE


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_decoded_or_refused_but_never_an_error(kind: str) -> None:
    file = bytearray(encoded(sweep(), kind))
    dice = random.Random(kind)
    for _ in range(4):
        for _ in range(len(file) // 400):
            file[dice.randrange(len(file))] = dice.randrange(256)
        try:
            found = decoded(bytes(file))
        except RequestRefused:
            continue
        assert np.abs(found).max(initial=0.0) <= 1.0
        assert len(found) < 3600 * RATE


def test_a_hole_leaves_the_rest_in_its_place() -> None:
    file = encoded(sweep(), "wav")
    middle = len(file) // 2
    found = decoded(file[:middle] + bytes(2000) + file[middle + 2000 :])
    assert len(found) == SECONDS * RATE


@pytest.mark.parametrize("size", [1, 100, 3000, 200_000])
def test_random_bytes_are_refused(size: int) -> None:
    for seed in range(3):
        assert refusal(random.Random(seed).randbytes(size))


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (b"", "empty"),
        (wav(b""), "holds no sound"),
        (wav(bytes(1000), channels=0), "damaged"),
        (wav(bytes(65 * 2000), channels=65), "65 channels"),
        (wav(bytes(2000), channels=65535), "damaged"),
        (wav(bytes(2000), rate=10), "10 samples a second"),
        (wav(bytes(2000), rate=2_000_000), "2000000 samples a second"),
        (wav(bytes(2000), format_tag=999), "not supported"),
        (b"hello world\n" * 1000, "not audio"),
        (b"\x89PNG\r\n\x1a\n" + bytes(2000), "not audio"),
        (bytes(100_000), "not audio"),
        (b"\xff" * 100_000, "not audio"),
    ],
)
def test_what_is_no_recording_is_refused_with_the_reason(file: bytes, reason: str) -> None:
    assert reason in refusal(file)


@pytest.mark.parametrize(
    "file",
    [
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile '{}'\n",
        b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><BaseURL>{}'
        b"</BaseURL></AdaptationSet></Period></MPD>",
    ],
)
def test_no_other_file_is_opened(file: bytes, tmp_path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(bytes(RATE)))
    assert "not audio" in refusal(file.replace(b"{}", str(secret).encode()))


def test_channels_are_mixed() -> None:
    for channels in (2, 3, 5, 8, 64):
        one_of_them = np.zeros((RATE, channels), "<i2")
        one_of_them[:, 0] = 1000 * channels // 2
        found = decoded(wav(one_of_them.tobytes(), channels=channels))
        assert len(found) == RATE
        assert np.allclose(found, 500 / 32768, atol=1e-3), channels


@pytest.mark.parametrize(
    ("codec", "channels"), [("libopus", 7), ("libopus", 8), ("libopus", 16), ("libopus", 24), ("aac", 8)]
)
def test_channels_in_planes_of_their_own_are_mixed(codec: str, channels: int) -> None:
    found = decoded(surround(sweep(), codec, channels))
    assert abs(len(found) - SECONDS * RATE) < 0.1 * RATE
    assert 0.2 < np.std(found) < 0.4


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_samples_of_any_size_have_the_same_loudness(bits: int) -> None:
    half = {8: b"\xc0", 16: b"\0\x40", 24: b"\0\0\x40", 32: b"\0\0\0\x40"}[bits]
    assert np.allclose(decoded(wav(half * RATE, bits=bits)), 0.5, atol=0.01)


def test_what_is_no_number_becomes_silence() -> None:
    values = np.full(RATE, 0.25, "<f4")
    values[100:200], values[300], values[400] = np.nan, np.inf, -np.inf
    found = decoded(wav(values.tobytes(), format_tag=3, bits=32))
    assert np.isfinite(found).all()
    assert not found[100:200].any()
    assert np.allclose(found[1000:], 0.25)


@pytest.mark.parametrize("size", [0, 2**32 - 1])
def test_a_wav_whose_length_was_not_known_is_read_to_its_end(size: int) -> None:
    assert len(decoded(wav(bytes(2 * RATE), size=size))) == RATE


def test_pcm_of_any_rate() -> None:
    assert len(decoded(bytes(2 * RATE + 1), RATE)) == RATE
    assert abs(len(decoded(bytes(2 * 24_000), 24_000)) - RATE) < 100
    assert "5 samples a second" in refusal(bytes(1000), 5)


class _Grown:
    """A container of which PyAV, at its end, asks for a stream that it found on the way and does not know."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def demux(self, stream: Any) -> Iterator[Any]:
        yield from self._real.demux(stream)
        raise IndexError("list index out of range")


def test_a_stream_that_appears_later_does_not_matter(monkeypatch) -> None:
    file, open_file = encoded(sweep(), "aac"), av.open
    monkeypatch.setattr(av, "open", lambda *args, **options: _Grown(open_file(*args, **options)))
    found = decoded(file)
    assert abs(len(found) - SECONDS * RATE) < 0.1 * RATE


def test_a_recording_that_is_too_long_is_refused_before_it_is_decoded() -> None:
    for file, rate in ((encoded(sweep(), "wav"), 0), (encoded(sweep(), "aac"), 0), (bytes(6 * RATE), RATE)):
        assert sum(map(len, decode(io.BytesIO(file), rate, 4.0))) > 2.9 * RATE
        blocks = decode(io.BytesIO(file), rate, 2.0)
        with pytest.raises(RequestRefused, match="longer than 2 seconds"):
            list(blocks)
        with pytest.raises(RequestRefused) if not rate else contextlib.nullcontext():
            next(decode(io.BytesIO(file), rate, 2.0))


def test_blocks_are_small_however_long_the_file() -> None:
    blocks = [len(block) for block in decode(io.BytesIO(encoded(sweep(60), "wav")))]
    assert max(blocks) < 3 * RATE
    assert sum(blocks) >= 59 * RATE
