"""Where a recording is cut into windows for a speech model. Pure functions of the voice activity.

Positions are in frames of 32 ms. Nothing here depends on how much of the recording is known beyond what
decides: a cut is the same however the sound arrives, and a host that continues at a cut finds the same ones.
"""

from typing import NamedTuple

import numpy as np

from host.audio.samples import Samples
from host.audio.vad import FRAME, FRAME_SECONDS, Probabilities
from ipc.messages import VoiceActivity

MAX_WINDOW = int(30 / FRAME_SECONDS)  # what Whisper hears at once
MIN_SPEECH = 4  # less is a click

_HYSTERESIS = 0.15  # speech has ended only when its probability is this much below the threshold
_MIN_PAUSE = 3  # within speech, between two words perhaps
_LONG_PAUSE = int(3 / FRAME_SECONDS)  # ends a window: models invent words in long silence
_EARLIEST_CUT = int(15 / FRAME_SECONDS)  # shorter windows cost as much as long ones
# When a sentence ends later than this, Whisper often cannot decide whether it continues. It then leaves the
# sentence to a second pass, which costs half as much as a full window.
_LATEST_CUT = int(28 / FRAME_SECONDS)
_WORTH_OF_PAUSE = 0.35  # of one that ends an utterance, as a part of a window's length
_EARLIEST_HARD_CUT = int(20 / FRAME_SECONDS)
_QUIET = 5  # frames whose loudness is averaged


class Span(NamedTuple):
    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start


class Settings(NamedTuple):
    threshold: float
    padding: int  # frames kept around speech
    silence: int  # frames that end an utterance


class Window(NamedTuple):
    """`speech`: the spans in it. The next window is looked for from `end` on."""

    start: int
    end: int
    speech: list[Span]


def settings_of(activity: VoiceActivity) -> Settings:
    """In frames."""
    return Settings(
        min(max(activity.threshold, 0.01), 0.99),
        max(1, round(activity.prefix_padding_ms / 1000 / FRAME_SECONDS)),
        max(_MIN_PAUSE, round(activity.silence_duration_ms / 1000 / FRAME_SECONDS)),
    )


def first_speech(probabilities: Probabilities, settings: Settings) -> int | None:
    """The first frame of speech."""
    loud = np.flatnonzero(probabilities >= settings.threshold)
    return int(loud[0]) if len(loud) else None


def speech_spans(probabilities: Probabilities, settings: Settings, pause: int) -> list[Span]:
    """Speech, divided by pauses of at least `pause` frames."""
    spans: list[Span] = []
    quiet = settings.threshold - _HYSTERESIS
    speaking, start = False, 0
    for frame, probability in enumerate([*probabilities.tolist(), -1.0]):
        heard = probability >= (quiet if speaking else settings.threshold) and probability >= 0
        if heard and not speaking:
            start = frame
        elif speaking and not heard:
            if spans and start - spans[-1].end < pause:
                spans[-1] = Span(spans[-1].start, frame)
            else:
                spans.append(Span(start, frame))
        speaking = heard
    return spans


def utterances(probabilities: Probabilities, settings: Settings) -> list[Span]:
    """Speech, divided by pauses that end an utterance, without clicks."""
    spans = speech_spans(probabilities, settings, settings.silence)
    return [span for span in spans if span.length >= MIN_SPEECH]


def next_window(
    probabilities: Probabilities, samples: Samples, ended: bool, settings: Settings
) -> Window | None:
    """The first window; None if more of the recording must be known, or it has ended without speech.

    `samples` belong to the frames. `ended`: nothing follows them.
    """
    begin = first_speech(probabilities, settings)
    if begin is None:
        return None
    start = max(0, begin - settings.padding)
    limit = start + MAX_WINDOW
    known = probabilities[:limit]
    spans = speech_spans(known, settings, _MIN_PAUSE)
    complete = len(known) == limit
    end = _after_long_pause(spans, len(known), settings)
    if end is None and complete:
        end = _cut(spans, samples, start, settings)
    if end is None and ended:
        end = min(len(known), spans[-1].end + settings.padding)
    if end is None:
        return None
    return Window(start, end, [Span(s.start, min(s.end, end)) for s in spans if s.start < end])


def _after_long_pause(spans: list[Span], known: int, settings: Settings) -> int | None:
    for span, following in zip(spans, [*(span.start for span in spans[1:]), known], strict=True):
        if following - span.end >= _LONG_PAUSE:
            return span.end + min(settings.padding, _LONG_PAUSE)
    return None


def _cut(spans: list[Span], samples: Samples, start: int, settings: Settings) -> int:
    """Of a window that is full: a second pass is better than a cut in the middle of a word."""
    for latest in (_LATEST_CUT, MAX_WINDOW):
        if (end := _best_cut(spans, start, latest, settings)) is not None:
            return end
    return _hard_cut(samples, start)


def _best_cut(spans: list[Span], start: int, latest: int, settings: Settings) -> int | None:
    """In a pause that is long, or late: full windows cost less."""
    best, best_score = None, 0.0
    ends = [*(span.start for span in spans[1:]), start + MAX_WINDOW]
    for span, following in zip(spans, ends, strict=True):
        pause = following - span.end
        if not start + _EARLIEST_CUT <= span.end <= start + latest or pause < _MIN_PAUSE:
            continue
        length = min(pause, settings.silence) / settings.silence
        score = _WORTH_OF_PAUSE * length + (span.end - start) / MAX_WINDOW
        if score > best_score:
            best, best_score = span.end + min(settings.padding, pause // 2), score
    return best


def _hard_cut(samples: Samples, start: int) -> int:
    """At the quietest place of speech without a pause."""
    first, last = start + _EARLIEST_HARD_CUT, start + _LATEST_CUT
    energy = np.mean(samples[first * FRAME : last * FRAME].reshape(-1, FRAME) ** 2, axis=1)
    smooth = np.convolve(energy, np.ones(_QUIET) / _QUIET, "valid")
    return first + int(np.argmin(smooth)) + _QUIET // 2
