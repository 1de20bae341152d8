"""Recordings for benchmarks of speech to text: a file of the user, or sentences spoken by espeak-ng."""

import io
import math
import wave
from pathlib import Path

import msgspec

from bench.espeak import speak
from bench.sentences import sentences

_WORDS_PER_SECOND = 4.0  # more than espeak-ng speaks


class Recording(msgspec.Struct, frozen=True):
    """An audio file. `seconds` is known of WAV files only."""

    name: str
    data: bytes
    seconds: float | None


def read_recording(path: Path) -> Recording:
    """Raises OSError."""
    data = path.read_bytes()
    return Recording(path.name, data, wav_seconds(data))


def spoken_recordings(seed: int, count: int, seconds: float) -> list[Recording]:
    """`count` recordings of a synthetic voice, cut after `seconds`; each has words of its own.

    Raises RunFailed.
    """
    words = math.ceil(_WORDS_PER_SECOND * seconds)
    spoken = speak([" ".join(sentences(seed, index, words)) for index in range(count)])
    wanted = round(seconds * spoken.rate)
    return [_recording(samples[: 2 * wanted], spoken.rate) for samples in spoken.samples]


def _recording(samples: bytes, rate: int) -> Recording:
    data = wav(samples, rate)
    return Recording("recording.wav", data, wav_seconds(data))


def wav_seconds(data: bytes) -> float | None:
    """The length of a WAV file of PCM whose header states it; None of any other file."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            frames, rate, width = file.getnframes(), file.getframerate(), file.getsampwidth()
            channels = file.getnchannels()
    except (wave.Error, EOFError):
        return None
    return frames / rate if frames * width * channels <= len(data) else None


def wav(samples: bytes, rate: int) -> bytes:
    """A WAV file of one channel of 16-bit samples."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples)
    return out.getvalue()
