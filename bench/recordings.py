"""Recordings for benchmarks of speech to text: a file of the user, or sentences spoken by espeak-ng."""

import ctypes
import importlib
import io
import math
import wave
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import RunFailed
from bench.sentences import sentences

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS of espeak-ng
_UTF8 = 1  # espeakCHARS_UTF8
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_WORDS_PER_SECOND = 3.2  # a little more than espeak-ng's pace


class Recording(msgspec.Struct, frozen=True):
    """An audio file. `seconds` is known of WAV files only."""

    name: str
    data: bytes
    seconds: float | None


def read_recording(path: Path) -> Recording:
    """Raises OSError."""
    data = path.read_bytes()
    return Recording(path.name, data, wav_seconds(data))


def spoken_recording(seed: int, index: int, seconds: float) -> Recording:
    """`seconds` of a synthetic voice, cut there; the words of each index differ. Raises RunFailed."""
    words = math.ceil(_WORDS_PER_SECOND * seconds)
    samples, rate = _speak(" ".join(sentences(seed, index, words)))
    while len(samples) < (wanted := 2 * round(seconds * rate)):
        words *= 2
        samples, rate = _speak(" ".join(sentences(seed, index, words)))
    return Recording("recording.wav", wav(samples[:wanted], rate), seconds)


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


def _speak(text: str) -> tuple[bytes, int]:
    """Samples of `text`, spoken in English by espeak-ng, and their rate.

    Raises RunFailed without the extra `speech`.
    """
    library, rate = _espeak()
    samples = bytearray()

    def take(address: int | None, count: int, _: int | None) -> int:
        if address and count:
            samples.extend(ctypes.string_at(address, 2 * count))
        return 0

    callback = _CALLBACK(take)  # kept alive until the text is spoken
    library.espeak_SetSynthCallback(callback)
    encoded = text.encode()
    if library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None):
        raise RunFailed("espeak-ng could not speak the text of a recording")
    return bytes(samples), rate


@cache
def _espeak() -> tuple[Any, int]:
    """The library, ready to speak English, and its sample rate."""
    try:
        loader = importlib.import_module("espeakng_loader")
        library = ctypes.CDLL(loader.get_library_path())
    except (ImportError, OSError) as error:
        raise RunFailed(
            f"no recording: espeak-ng is missing ({error}).\n"
            "Give one with --audio FILE, or install nacelle-server[speech]."
        ) from error
    rate: int = library.espeak_Initialize(_SYNCHRONOUS, 200, str(loader.get_data_path()).encode(), 0)
    if rate <= 0 or library.espeak_SetVoiceByName(b"en-us"):
        raise RunFailed("no recording: espeak-ng did not start. Give one with --audio FILE.")
    return library, rate
