"""One audio file from several encoders, as the hosts of one answer make it."""

import io
from typing import get_args

import av
import numpy as np
import pytest

from host.speech.encoder import PAUSE_SECONDS, Encoder
from host.speech.ogg import OggOpus
from host.speech.samples import Samples
from ipc.messages import AudioFormat

RATE = 24_000
FORMATS: tuple[AudioFormat, ...] = get_args(AudioFormat)
# What a decoder says of any stream whose length is not in its header.
HARMLESS = (
    "Estimating duration",
    "Ignoring maximum wav data size",
    "Packet corrupt (stream = 0, dts = NOPTS)",
)
# Delay and padding that the format cannot express, in samples; the others are exact.
SURPLUS = {"mp3": 3 * 576, "aac": 2 * 1024}


def spoken(index: int) -> Samples:
    """A chord of its own pitch, and the pause after it."""
    time = np.arange(int(RATE * (0.3 + 0.137 * index))) / RATE
    chord = 0.4 * np.sin(2 * np.pi * (200 + 70 * index) * time) + 0.2 * np.sin(2 * np.pi * 900 * time)
    chord *= np.minimum(1, np.minimum(time, time[::-1]) * 50)
    return np.concatenate((chord, np.zeros(int(RATE * PAUSE_SECONDS)))).astype(np.float32)


SENTENCES = [spoken(index) for index in range(3)]
TOTAL = sum(map(len, SENTENCES))


def decoded(data: bytes, audio_format: AudioFormat) -> tuple[Samples, int]:
    """The samples and their rate. The decoder must have nothing to complain about."""
    raw, options = ("s16le", {"sample_rate": str(RATE)}) if audio_format == "pcm" else (None, {})
    previous = av.logging.get_level()
    av.logging.set_level(av.logging.WARNING)
    try:
        with (
            av.logging.Capture() as messages,
            av.open(io.BytesIO(data), "r", format=raw, options=options) as container,
        ):
            frames = list(container.decode(audio=0))
    finally:
        av.logging.set_level(previous)
    assert [text for _, _, text in messages if not text.startswith(HARMLESS)] == []
    scale = 32768 if frames[0].format.name.startswith("s16") else 1
    samples = np.concatenate([frame.to_ndarray().astype(np.float32).mean(axis=0) / scale for frame in frames])
    return samples, frames[0].sample_rate


def beginnings(samples: Samples, rate: int) -> np.ndarray:
    """When the sentences begin, in seconds."""
    loud = np.flatnonzero(np.abs(samples) > 0.05)
    pauses = np.flatnonzero(np.diff(loud) > 0.15 * rate)
    return np.concatenate((loud[:1], loud[pauses + 1])) / rate


@pytest.mark.parametrize("audio_format", FORMATS)
def test_a_file_decodes_to_its_samples(audio_format: AudioFormat):
    encoder = Encoder(audio_format, RATE)
    parts = [encoder.add(sentence) for sentence in SENTENCES]
    samples, rate = decoded(b"".join(parts) + encoder.finish(), audio_format)
    surplus = len(samples) * RATE / rate - TOTAL
    assert 0 <= surplus <= SURPLUS.get(audio_format, 0)
    assert all(len(part) > 500 for part in parts), "each sentence leaves at once"
    starts = np.cumsum([0, *map(len, SENTENCES[:-1])]) / RATE
    delay = beginnings(samples, rate) - starts
    assert np.all(delay >= -0.005)
    assert np.all(delay < 0.06)
    assert np.ptp(delay) < 0.01


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("cut", range(1, len(SENTENCES) + 1))
def test_two_encoders_make_one_file(audio_format: AudioFormat, cut: int):
    whole, first, second = (Encoder(audio_format, RATE) for _ in range(3))
    undisturbed = b"".join(map(whole.add, SENTENCES)) + whole.finish()
    before = b"".join(map(first.add, SENTENCES[:cut]))
    second.skip(sum(map(len, SENTENCES[:cut])))
    after = b"".join(map(second.add, SENTENCES[cut:])) + second.finish()
    joined = before + after
    expected, rate = decoded(undisturbed, audio_format)
    samples, _ = decoded(joined, audio_format)
    assert len(samples) == len(expected)
    np.testing.assert_allclose(beginnings(samples, rate), beginnings(expected, rate), atol=0.003)
    assert np.sqrt(np.mean(np.square(samples - expected))) < 0.01
    if audio_format in ("wav", "pcm", "flac"):
        assert joined == undisturbed


def test_hours_are_skipped_in_moments():
    encoder = Encoder("opus", RATE)
    encoder.skip(3 * 3600 * RATE)
    page = encoder.add(SENTENCES[0])
    assert page[:4] == b"OggS"
    position = int.from_bytes(page[6:14], "little")
    assert abs(position / 48_000 - 3 * 3600) < 0.2
    last_of_silence = 1 + 3 * 3600 * 10  # after two pages of headers, ten pages a second
    assert int.from_bytes(page[18:22], "little") == last_of_silence


@pytest.mark.parametrize("audio_format", FORMATS)
def test_samples_that_no_format_holds_are_bounded(audio_format: AudioFormat):
    encoder = Encoder(audio_format, RATE)
    wild = np.array([np.nan, np.inf, -np.inf, 7.0, -7.0] * 2000, np.float32)
    samples, _ = decoded(encoder.add(wild) + encoder.finish(), audio_format)
    assert np.all(np.isfinite(samples))


def test_the_header_of_a_wav_leaves_its_length_open():
    encoder = Encoder("wav", RATE)
    data = encoder.add(np.zeros(10, np.float32)) + encoder.finish()
    assert len(data) == 44 + 20
    assert data[4:8] == data[40:44] == b"\xff" * 4


def test_pages_carry_oggs_checksum():
    """Compared with the plain algorithm, bit by bit."""
    page = bytearray(OggOpus(b"OpusHead" + bytes(11), RATE, 480).header()[: 28 + 19])
    stored = int.from_bytes(page[22:26], "little")
    page[22:26] = bytes(4)
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    assert crc == stored
