"""Joins sentences: trims the silence around each, and puts a natural pause after it. Pure."""

import numpy as np

from host.speech.encoder import PAUSE_SECONDS
from host.speech.samples import Samples

_WINDOW_SECONDS = 0.005
_SILENCE = 5e-4  # root mean square of what is certainly silent: 66 dB below full scale
_RELATIVE_SILENCE = 3e-3  # the same, relative to the loudest window; an h begins at 0.02
_LEAD_SECONDS = 0.03  # kept before the first sound, and faded in
_TAIL_SECONDS = 0.06  # kept after the last, and faded out
_FADE_SECONDS = 0.01  # where the margin is that long
_LEAST_FADE_SECONDS = 0.002

_SENTENCE_SECONDS = 0.45
_CLAUSE_SECONDS = 0.3
_WORD_SECONDS = 0.0
_SENTENCE_MARKS = ".!?…।॥。！？"
_CLAUSE_MARKS = ",;:—–，、；："
_CLOSING = " \t\"'”’»)]}"


def joined(samples: Samples, text: str, speed: float, sample_rate: int) -> Samples:
    """A spoken sentence as it stands in a longer text: without surplus silence, and with a pause after it."""
    pause = np.zeros(round(pause_seconds(text, speed) * sample_rate), np.float32)
    return np.concatenate((trimmed(samples, sample_rate), pause))


def pause_seconds(text: str, speed: float) -> float:
    """The pause after a sentence or a part of one: never less than encoders need between two hosts."""
    last = text.rstrip(_CLOSING)[-1:]
    if last and last in _CLAUSE_MARKS:
        wanted = _CLAUSE_SECONDS
    elif last and last in _SENTENCE_MARKS:
        wanted = _SENTENCE_SECONDS
    else:
        wanted = _WORD_SECONDS
    return max(PAUSE_SECONDS, wanted / speed)


def trimmed(samples: Samples, sample_rate: int) -> Samples:
    """The sound with short margins, which are faded; empty if all is silent.

    Sound is where the energy of a short window exceeds that of silence, which lies far below any vowel and
    below the beginning of any consonant.
    """
    window = max(1, round(_WINDOW_SECONDS * sample_rate))
    count = -(-len(samples) // window)
    padded = np.pad(samples.astype(np.float32), (0, count * window - len(samples)))
    energy = np.sqrt(np.square(padded.reshape(count, window)).mean(axis=1)) if count else np.zeros(0)
    loudest = float(energy.max(initial=0.0))
    sounding = np.flatnonzero(energy > max(_SILENCE, _RELATIVE_SILENCE * loudest))
    if not len(sounding):
        return np.zeros(0, np.float32)
    first, last = int(sounding[0]) * window, min(len(samples), (int(sounding[-1]) + 1) * window)
    start = max(0, first - round(_LEAD_SECONDS * sample_rate))
    end = min(len(samples), last + round(_TAIL_SECONDS * sample_rate))
    least, usual = (round(seconds * sample_rate) for seconds in (_LEAST_FADE_SECONDS, _FADE_SECONDS))
    fades = [max(least, min(usual, margin)) for margin in (first - start, end - last)]
    return _faded(samples[start:end], fades[0], fades[1])


def _faded(samples: Samples, begin: int, end: int) -> Samples:
    """Begins and ends at zero, so that nothing clicks. `begin` and `end` are numbers of samples."""
    begin, end = (min(fade, len(samples) // 2) for fade in (begin, end))
    result = samples.astype(np.float32, copy=True)
    result[:begin] *= np.linspace(0, 1, begin, endpoint=False, dtype=np.float32)
    result[len(result) - end :] *= np.linspace(1, 0, end, dtype=np.float32)
    return result
