"""Synthetic speech for tests: espeak-ng through its library. It is robotic, but Whisper understands it."""

import ctypes
from functools import cache

import av
import espeakng_loader
import numpy as np

from host.audio.samples import RATE, Samples

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS
_UTF8 = 1  # espeakCHARS_UTF8
_PARAMETER_RATE = 1  # espeakRATE
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


@cache
def _library() -> tuple[ctypes.CDLL, int]:
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = str(espeakng_loader.get_data_path()).encode()
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data, 0)
    assert rate > 0, "espeak-ng does not start"
    return library, rate


@cache
def speak(text: str, voice: str = "en-us", words_per_minute: int = 160) -> Samples:
    """`text` read aloud: within a process always in the same way, which espeak-ng does not ensure."""
    library, rate = _library()
    parts: list[np.ndarray] = []

    def receive(wave: object, samples: int, _events: object) -> int:
        if wave:
            parts.append(np.ctypeslib.as_array(wave, (samples,)).copy())
        return 0

    callback = _Callback(receive)
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetVoiceByName(voice.encode())
    library.espeak_SetParameter(_PARAMETER_RATE, words_per_minute, 0)
    data = text.encode()
    library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return _at_our_rate(np.concatenate(parts), rate)


def _at_our_rate(pcm: np.ndarray, rate: int) -> Samples:
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), "s16", "mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    samples: Samples = np.concatenate([each.to_ndarray().reshape(-1) for each in frames])
    return samples
